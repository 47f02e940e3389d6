"""Stage 10: a start with the caches that an earlier start has kept, in a process that has compiled nothing itself."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.drawing import Order, one_by_one
from benchmarks.gpu.kept import keep_caches
from benchmarks.gpu.parts import Part, SkippedPart

from torch._dynamo.utils import counters  # isort: skip


def again(bench: Bench) -> dict[str, Any]:
    """Torch's own caches are empty here: what is not in the engine's is compiled."""
    if not list(bench.folders.engine_cache.glob("compiled-*.bin")):
        raise SkippedPart("no stage has kept compiled graphs")
    started_s = time.monotonic()
    weights_s = time.monotonic() - started_s if bench.components else 0.0
    started_s = time.monotonic()
    engine = bench.engine
    start_s = time.monotonic() - started_s
    found = counters["inductor"]
    first = one_by_one(engine, Order(bench.scale.edge_px, bench.scale.steps), 1)
    return {
        "start s": start_s,
        "weights s": weights_s,
        "graphs from the caches": found["fxgraph_cache_hit"],
        "graphs compiled": found["fxgraph_cache_miss"],
        "first picture s": first["p50 s"],
    }


def copies(bench: Bench) -> dict[str, Any]:
    """The caches, for a later run."""
    return keep_caches(bench.folders)


PARTS = (Part(again, 15), Part(copies, 2))
