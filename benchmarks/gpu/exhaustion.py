"""Stage 6: the engine when the device has too little memory, and after it has more again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.drawing import Order, draw_together
from benchmarks.gpu.parts import Part
from benchmarks.gpu.sdxl import build
from benchmarks.gpu.thread import on_thread
from deployments.diffusion import ticker
from deployments.diffusion.acceleration.compilation import graphs_compiled
from deployments.diffusion.components import Components
from deployments.diffusion.engine import DiffusionEngine
from deployments.diffusion.memory import peak_bytes

import torch  # isort: skip

GROWTH_TICKS = 4


def serving(bench: Bench) -> dict[str, Any]:
    """Full passes with memory for a few rows only; then small pictures with all of it until the budget is whole."""
    engine, scale = bench.engine, bench.scale
    orders = [Order(scale.edge_px, scale.few_steps)] * scale.batch
    whole = engine.stats.budget
    before, ticker.GROWTH_TICKS = ticker.GROWTH_TICKS, GROWTH_TICKS
    try:
        with _too_little_memory(bench, engine, rows=max(3, scale.batch // 2 + 1)):
            drawn = len(draw_together(engine, orders))
            least = engine.stats.budget
        for _ in range(20):
            if engine.stats.budget == whole:
                break
            draw_together(engine, [Order(scale.edge_px, scale.few_steps)])
    finally:
        ticker.GROWTH_TICKS = before
    return {
        "pictures": drawn,
        "ordered": len(orders),
        "out of memory": engine.stats.out_of_memory,
        "budget": whole,
        "least budget": least,
        "budget at the end": engine.stats.budget,
    }


def capture(bench: Bench) -> dict[str, Any]:
    """The same while CUDA graphs are recorded, with a tiny model: is the budget halved, and does it draw then?"""
    edge_px = 256 if bench.on_gpu else 16
    rows = 2 * bench.scale.batch
    made = build(bench.folders.work / "tokenizer-capture", bench.device, torch.float32, tiny=True)
    components = Components(made.text_to_image, None, device=bench.device)
    settings: dict[str, Any] = {"compile": "full", "cuda_graphs": True} if bench.on_gpu else {}
    settings |= {"row_buckets": (2, rows), "budget": rows * (edge_px // 2) ** 2, "fuse_qkv": False}
    settings |= {"warm_up_sizes": ((edge_px, edge_px),), "cache_dir": str(bench.folders.work / "capture")}
    graphs = graphs_compiled()
    limit = _limit_memory(2**28) if bench.on_gpu else None
    try:
        engine = bench.make_engine(components, **settings)
    finally:
        if limit is not None:
            limit()
    try:
        orders = [Order(edge_px, bench.scale.few_steps)] * bench.scale.batch
        drawn = len(draw_together(engine, orders))
        return {
            "pictures": drawn,
            "ordered": len(orders),
            "budget": settings["budget"],
            "budget after the warm-up": engine.stats.budget,
        }
    finally:
        engine.close()
        serving_one: Any = bench.engine._ticker
        serving_one._graphs += graphs_compiled() - graphs  # an engine counts what its process compiles


@contextmanager
def _too_little_memory(bench: Bench, engine: DiffusionEngine, rows: int) -> Iterator[None]:
    """Within it a full pass of the model's own size does not fit, but `rows` - 1 do; on a CPU, that is only said."""
    denoiser: Any = engine._ticker._denoiser
    if not bench.on_gpu:
        forward = denoiser._forward

        def refuse(given: Any, controls: Any, padded_to: int) -> torch.Tensor:
            if padded_to >= rows:
                raise torch.OutOfMemoryError("as a GPU would say")
            output: torch.Tensor = forward(given, controls, padded_to)
            return output

        denoiser._forward = refuse
        try:
            yield
        finally:
            del denoiser._forward
        return

    # One decode must fit, which may be more than a pass of a few rows.
    least = on_thread(engine, partial(peak_bytes, partial(engine._ticker._decoder.rehearse, *bench.latents)))
    few = on_thread(engine, partial(peak_bytes, partial(denoiser.rehearse, rows - 1, *bench.latents)))
    give_back = _limit_memory(int(1.2 * max(least, few)))
    try:
        yield
    finally:
        give_back()


def _limit_memory(more_bytes: int) -> Callable[[], None]:
    """Lets this process have so much beside what it holds. Returns what lifts the limit again."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + more_bytes) / total)
    return lambda: torch.cuda.set_per_process_memory_fraction(1.0)


PARTS = (Part(serving, 12), Part(capture, 40))
