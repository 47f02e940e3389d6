"""Stage 3: diffusers' pipeline, in 32 and 16 bits, and the engine, eager: do they agree, and how long do they take.

diffusers comes first, on modules that nothing of the engine has touched.
"""

from __future__ import annotations

import copy
import time
from typing import Any

from benchmarks.gpu.baseline import draw_with_diffusers, seconds_of_diffusers
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.drawing import Order, draw_together, loop_of_engine, one_by_one
from benchmarks.gpu.latents import errors_of_engine, latents_of_diffusers, noise_of, reference_file, relative_error
from benchmarks.gpu.parts import Part
from deployments.diffusion.engine import DiffusionEngine

import torch  # isort: skip
from torch.utils.flop_counter import FlopCounterMode  # isort: skip


def reference(bench: Bench) -> dict[str, Any]:
    """Latents in 32 bits, and the error of diffusers' pipeline in 16."""
    unet = copy.deepcopy(bench.components.unet).to(torch.float32)
    exact_s = time.monotonic()
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        exact = latents_of_diffusers(bench, unet)
    exact_s = time.monotonic() - exact_s
    torch.save({"latents": exact, "noise": noise_of(bench)}, reference_file(bench))
    del unet
    bench.free()
    own = latents_of_diffusers(bench, bench.components.unet)
    return {"diffusers' own error": relative_error(bench, own), "seconds in 32 bits": exact_s}


def work(bench: Bench) -> dict[str, Any]:
    """Of the matrix products and convolutions of one picture, counted while diffusers draws it in one step."""
    with FlopCounterMode(display=False) as counter:
        draw_with_diffusers(bench.components, Order(bench.scale.edge_px, 1), [0])
    by_module = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    step = by_module["UNet2DConditionModel"]
    return {"TFLOP a picture": (by_module["Global"] + step * (bench.scale.steps - 1)) / 1e12, "a step": step / 1e12}


def diffusers(bench: Bench) -> dict[str, Any]:
    """Seconds a picture, eager, PNG encoding included."""
    order = Order(bench.scale.edge_px, bench.scale.steps)
    return {
        "batch 1, s": seconds_of_diffusers(bench.components, order, 1, 3),
        "largest batch, s": seconds_of_diffusers(bench.components, order, bench.scale.batch, 1),
        "pictures of the largest batch": bench.scale.batch,
    }


def engine(bench: Bench) -> dict[str, Any]:
    """The same pictures from the engine without compilation, and a forced picture that is not finite."""
    started_s = time.monotonic()
    eager = bench.make_engine()
    start_s = time.monotonic() - started_s
    order = Order(bench.scale.edge_px, bench.scale.steps)
    try:
        return {
            "start s": start_s,
            **errors_of_engine(bench, eager),
            **one_by_one(eager, order, 3),
            "pictures/s": loop_of_engine(bench, eager, order, most_s=12).pictures_per_s,
            "passes s": {str(size): times for size, times in eager._ticker._denoiser.pass_seconds.items()},
            "decodes again in 32 bits": _force_nan(bench, eager),
        }
    finally:
        eager.close()
        bench.forget_engine()


def _force_nan(bench: Bench, engine: DiffusionEngine) -> int:
    """Makes the decoder's next output NaN. Returns how many pictures were decoded again."""
    left = [1]

    def spoil(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor | None:
        if not left:
            return None
        left.clear()
        return output * float("nan")

    hook = bench.components.vae.decoder.conv_out.register_forward_hook(spoil)
    try:
        draw_together(engine, [Order(bench.scale.edge_px, 1)])
    finally:
        hook.remove()
    return engine.stats.nan_retries


PARTS = (Part(reference, 15), Part(work, 3), Part(diffusers, 20), Part(engine, 25))
