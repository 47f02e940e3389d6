"""Stage 4: the engine with compiled blocks under load, and where its time and the memory go."""

from __future__ import annotations

import json
import time
import warnings
from collections import Counter
from functools import partial
from typing import Any

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.drawing import Order, draw_together, loop_of_engine
from benchmarks.gpu.kept import keep_caches
from benchmarks.gpu.latents import errors_of_engine
from benchmarks.gpu.parts import Part
from benchmarks.gpu.thread import on_thread
from deployments.diffusion.acceleration.compilation import graphs_compiled

import torch  # isort: skip

TOP = 20


def start(bench: Bench) -> dict[str, Any]:
    """Warm-up with nothing kept, unless --kept gives it something: kernels chosen, compiled and loaded."""
    started_s = time.monotonic()
    engine = bench.engine
    seconds = time.monotonic() - started_s
    denoiser = engine._ticker._denoiser
    return {
        "start s": seconds,
        "graphs": graphs_compiled(),
        "budget, rows": engine.stats.budget // (bench.latents[0] * bench.latents[1]),
        "buckets": list(denoiser.buckets),
        "passes s": {str(size): times for size, times in denoiser.pass_seconds.items()},
        "attention": _processors(bench),
        **keep_caches(bench.folders),
    }


def error(bench: Bench) -> dict[str, Any]:
    """Of compiled models, against diffusers in 32 bits."""
    return dict(errors_of_engine(bench, bench.engine))


def loop(bench: Bench) -> dict[str, Any]:
    """The closed loop, and what the engine has counted in it."""
    before = vars(bench.engine.stats).copy()
    figures = loop_of_engine(bench, bench.engine, Order(bench.scale.edge_px, bench.scale.steps), most_s=30)._asdict()
    after = vars(bench.engine.stats)
    counted = {name: after[name] - before[name] for name in ("ticks", "padded_rows", "unrehearsed", "out_of_memory")}
    return {
        **figures,
        **counted,
        "clients": bench.scale.clients,
        "compiled": bench.compiles,
        "recompiles": after["recompiles"],
    }


def memory(bench: Bench) -> dict[str, Any]:
    """GB at most: weights, passes of the most rows without and with poses, a decode; and what the probe found."""
    engine, rows = bench.engine, 2 * bench.scale.batch
    ticker = engine._ticker
    passes = {
        "most rows": partial(ticker._denoiser.rehearse, rows, *bench.latents),
        "most rows, ControlNet": partial(ticker._denoiser.rehearse, rows, *bench.latents, True),
        "decode": partial(ticker._decoder.rehearse, *bench.latents),
    }
    models = (bench.components.unet, bench.components.controlnet, bench.components.vae)
    encoders = (bench.components.text_to_image.text_encoder, bench.components.text_to_image.text_encoder_2)
    weights = sum(each.numel() * each.element_size() for model in (*models, *encoders) for each in model.parameters())
    return {
        "weights": weights / 1e9,
        **{f"peak of {name}": on_thread(engine, partial(_peak_gb, bench, action)) for name, action in passes.items()},
        "budget": engine.stats.budget,
        "measured at the start": _measured(bench),
    }


def waits(bench: Bench) -> dict[str, Any]:
    """Calls that make the host wait for the device, by tick and place; beside the clock's one wait a tick."""
    if not bench.on_gpu:
        draw_together(bench.engine, [Order(bench.scale.edge_px, bench.scale.steps)] * bench.scale.batch)
        return {"a tick": None, "places": None}
    ticks = bench.engine.stats.ticks
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            draw_together(bench.engine, [Order(bench.scale.edge_px, bench.scale.steps)] * bench.scale.batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = Counter(
        f"{each.filename}:{each.lineno}" for each in caught if "called a synchronizing" in str(each.message)
    )
    return {"a tick": places.total() / (bench.engine.stats.ticks - ticks), "places": dict(places.most_common(TOP))}


def profile(bench: Bench) -> dict[str, Any]:
    """ms by kernel in one pass of the most rows, the largest first; on a CPU by operator."""
    rehearse = partial(bench.engine._ticker._denoiser.rehearse, 2 * bench.scale.batch, *bench.latents)
    activities = [torch.profiler.ProfilerActivity.CUDA if bench.on_gpu else torch.profiler.ProfilerActivity.CPU]

    with torch.profiler.profile(activities=activities):
        pass  # the profiler wants to be made ready on the main thread

    def measure() -> list[Any]:
        rehearse()
        with torch.profiler.profile(activities=activities) as profiler:
            rehearse()
            bench.synchronize()
        return list(profiler.key_averages())

    events = on_thread(bench.engine, measure)
    name = "self_device_time_total" if bench.on_gpu else "self_cpu_time_total"
    events.sort(key=lambda event: -getattr(event, name))
    total = sum(getattr(event, name) for event in events) / 1000
    top = {event.key[:160]: [round(getattr(event, name) / 1000, 3), event.count] for event in events[:TOP]}
    return {"ms": total, "kernels": len(events), "ms and calls": top}


def _peak_gb(bench: Bench, action: Any) -> float | None:
    if not bench.on_gpu:
        action()
        return None
    bench.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    action()
    bench.synchronize()
    return torch.cuda.max_memory_allocated() / 1e9


def _measured(bench: Bench) -> Any:
    file = bench.folders.engine_cache / "measured.json"
    return json.loads(file.read_text()) if file.exists() else None


def _processors(bench: Bench) -> dict[str, int]:
    """Attention layers by the kernel that was chosen for them."""
    processors = list(bench.components.unet.attn_processors.values())
    return dict(Counter(str(each.order[0].name) if hasattr(each, "order") else "torch's" for each in processors))


PARTS = (Part(start, 60), Part(error, 5), Part(loop, 30), Part(memory, 5), Part(waits, 8), Part(profile, 8))
