"""Stage 8: what compiles long and may not be worth it. In a process of its own, for it leaves models changed.

Each part is skipped where too little of the stage's time is left.
"""

from __future__ import annotations

import importlib.util
import time
from typing import Any

from benchmarks.gpu.baseline import seconds_of_diffusers
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.blocks import backend, measure_blocks
from benchmarks.gpu.drawing import Order, loop_of_engine, one_by_one
from benchmarks.gpu.parts import Part, SkippedPart
from deployments.diffusion.acceleration.fp8 import FIRST_CAPABILITY
from deployments.diffusion.components import Components

import torch  # isort: skip


def blocks(bench: Bench) -> dict[str, Any]:
    """ms of single blocks, by how they are compiled."""
    return {"ms": measure_blocks(bench)}


def diffusers_one(bench: Bench) -> dict[str, Any]:
    """diffusers' pipeline with its whole UNet compiled for one size and row count: batch 1."""
    return _compiled_diffusers(bench, 1, 5)


def diffusers_many(bench: Bench) -> dict[str, Any]:
    """The same with the largest batch."""
    return _compiled_diffusers(bench, bench.scale.batch, 1)


def whole(bench: Bench) -> dict[str, Any]:
    """The engine with whole models compiled, in passes of the most rows only."""
    return _engine(bench, 2 * bench.scale.batch, compile="full")


def captured(bench: Bench) -> dict[str, Any]:
    """The same as CUDA graphs, with one picture at a time."""
    return _engine(bench, 2, compile="full", cuda_graphs=True)


def eight_bits(bench: Bench) -> dict[str, Any]:
    """Linear layers in 8 bits, blocks compiled."""
    if importlib.util.find_spec("torchao") is None:
        raise SkippedPart("torchao is not installed")
    if not bench.on_gpu or torch.cuda.get_device_capability() < FIRST_CAPABILITY:
        raise SkippedPart("this device does not multiply in 8 bits")
    return _engine(bench, 2 * bench.scale.batch, compile=True, quantize="fp8")


def _compiled_diffusers(bench: Bench, batch: int, repeats: int) -> dict[str, Any]:
    torch.compiler.set_stance("default")
    unet: Any = bench.components.unet
    if unet._compiled_call_impl is None:
        unet.compile(dynamic=False, **backend(bench))
    started_s = time.monotonic()
    seconds = seconds_of_diffusers(bench.components, Order(bench.scale.edge_px, bench.scale.steps), batch, repeats)
    return {"s a picture": seconds, "pictures": batch, "all of it s": time.monotonic() - started_s}


def _engine(bench: Bench, rows: int, **settings: Any) -> dict[str, Any]:
    """An engine without a ControlNet, whose passes all have so many rows."""
    bench.forget_engine()
    components = Components(bench.components.text_to_image, None, device=bench.device)
    started_s = time.monotonic()
    budget = rows * bench.latents[0] * bench.latents[1]
    if bench.tiny:
        settings["compile"] = False  # whole models take a compiler for CPUs minutes
        settings.pop("cuda_graphs", None)
    engine = bench.make_engine(
        components, row_buckets=(rows,), budget=budget, cache_dir=str(bench.folders.work / "graphs"), **settings
    )
    figures: dict[str, Any] = {"start s": time.monotonic() - started_s}
    order = Order(bench.scale.edge_px, bench.scale.steps)
    try:
        if rows == 2:
            figures |= one_by_one(engine, order, 10)
        else:
            figures |= loop_of_engine(bench, engine, order, most_s=20)._asdict()
        times = engine._ticker._denoiser.pass_seconds.get(bench.latents, {})
        return figures | {"pass s": times.get(rows), "recompiles": engine.stats.recompiles}
    finally:
        engine.close()
        # Not torch.compiler.reset(): in older releases of torch, CUDA graphs belong to the thread that first used
        # them, and resetting them from another one is an error.
        torch._dynamo.reset_code_caches()


PARTS = (
    Part(captured, 90),  # first: torch's CUDA graphs must meet the engine's thread before any other
    Part(blocks, 40),
    Part(diffusers_one, 70),
    Part(diffusers_many, 80),
    Part(whole, 110),
    Part(eight_bits, 100),
)
