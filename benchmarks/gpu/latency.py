"""Stage 5: one picture at a time, and short jobs among long ones."""

from __future__ import annotations

import asyncio
import statistics
from functools import partial
from typing import Any

from benchmarks.engine_mixed import Arrival, StaticBatches, make_trace, replay
from benchmarks.gpu.baseline import draw_with_diffusers
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.drawing import Order, draw, one_by_one
from benchmarks.gpu.parts import Part
from benchmarks.gpu.thread import awake, on_thread
from benchmarks.report import percentile

LOAD = 0.8


def one(bench: Bench) -> dict[str, Any]:
    """Batch 1, to PNG bytes."""
    return dict(one_by_one(bench.engine, Order(bench.scale.edge_px, bench.scale.steps), bench.scale.repeats))


def mixed(bench: Bench) -> dict[str, Any]:
    """Few and many steps, Poisson arrivals at a share of what one picture at a time would allow.

    The static batches run on the engine's own compiled models, on its thread while it has nothing to do, so that only
    the scheduling differs.
    """
    scale = bench.scale
    steps = (scale.few_steps, scale.long_steps)
    alone_s = [one_by_one(bench.engine, Order(scale.edge_px, each), 2)["p50 s"] for each in steps]
    trace = make_trace(24 if bench.on_gpu else 6, LOAD / statistics.mean(alone_s), 0, steps, (scale.edge_px,))

    def together(edge_px: int, steps: int, seeds: list[int]) -> None:
        on_thread(bench.engine, partial(draw_with_diffusers, bench.components, Order(edge_px, steps), seeds))

    async def continuous(arrival: Arrival) -> None:
        await draw(bench.engine, Order(arrival.edge_px, arrival.steps), arrival.seed)

    with awake(bench.engine):
        for batch in range(1, scale.batch + 1):  # each batch's kernels are chosen at its first use
            together(scale.edge_px, 1, list(range(batch)))
        static = asyncio.run(replay(trace, StaticBatches(together).draw))
    ours = asyncio.run(replay(trace, continuous))
    return {
        f"{name}, {what}": figure
        for name, waits in (("static", static), ("engine", ours))
        for what, figure in _figures(waits, min(steps)).items()
    }


def _figures(waits: list[tuple[int, float]], short: int) -> dict[str, float]:
    of_short = [seconds for steps, seconds in waits if steps == short]
    everyone = [seconds for _, seconds in waits]
    return {"short p95 s": percentile(of_short, 95), "all mean s": statistics.mean(everyone)}


PARTS = (Part(one, 15), Part(mixed, 40))
