"""Stage 3: diffusers' pipeline, in 32 and 16 bits, and the engine, eager: do they agree, and how long do they take.

diffusers comes first, on modules that nothing of the engine has touched.
"""

from __future__ import annotations

import asyncio
import copy
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.drawing import (
    GUIDANCE_SCALE,
    NEGATIVE_PROMPT,
    PROMPT,
    Order,
    draw,
    draw_together,
    draw_with_diffusers,
    loop_of_engine,
    one_by_one,
    seconds_of_diffusers,
)
from benchmarks.gpu.parts import Part
from deployments.diffusion.engine import DiffusionEngine

import torch  # isort: skip
from diffusers import StableDiffusionXLPipeline  # isort: skip
from torch.utils.flop_counter import FlopCounterMode  # isort: skip

SEED = 7


def reference(bench: Bench) -> dict[str, Any]:
    """Latents in 32 bits, and the error of diffusers' pipeline in 16."""
    unet = copy.deepcopy(bench.components.unet).to(torch.float32)
    exact_s = time.monotonic()
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        exact = _latents_of_diffusers(bench, unet)
    exact_s = time.monotonic() - exact_s
    torch.save({"latents": exact, "noise": _noise(bench)}, _file(bench))
    own = _latents_of_diffusers(bench, bench.components.unet)
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
        bench.forget_attention()


def relative_error(bench: Bench, latents: torch.Tensor) -> float:
    """Against the 32 bit latents, by the norm of what the UNet added to the noise: the noise itself has no error."""
    saved = torch.load(_file(bench))
    exact, noise = saved["latents"], saved["noise"]
    start = noise * float(bench.components.scheduler("euler").init_noise_sigma)
    assert torch.isfinite(latents).all()
    return float((latents - exact).norm() / (exact - start).norm())


def errors_of_engine(bench: Bench, engine: DiffusionEngine) -> dict[str, float]:
    """Of the picture of the reference's seed, alone and in passes that are full."""
    return {
        "error": relative_error(bench, _latents_of_engine(bench, engine, 1)),
        "error in full passes": relative_error(bench, _latents_of_engine(bench, engine, bench.scale.batch)),
    }


def _latents_of_engine(bench: Bench, engine: DiffusionEngine, pictures: int) -> torch.Tensor:
    """What the engine decodes last of so many equal pictures at once."""
    decoder: Any = engine._ticker._decoder
    caught: list[torch.Tensor] = []

    def decode(latents: torch.Tensor, in_fp32: bool = False) -> Any:
        caught.append(latents.float().cpu())
        return type(decoder).decode(decoder, latents, in_fp32)

    async def everyone() -> None:
        order = Order(bench.scale.edge_px, bench.scale.steps)
        await asyncio.gather(*(draw(engine, order, SEED) for _ in range(pictures)))

    decoder.decode = decode
    try:
        asyncio.run(everyone())
    finally:
        del decoder.decode
    return caught[-1]


def _noise(bench: Bench) -> torch.Tensor:
    """As the engine draws it for the seed."""
    shape = (1, 4, *bench.latents)
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(SEED))


@torch.inference_mode()
def _latents_of_diffusers(bench: Bench, unet: Any) -> torch.Tensor:
    """The embeddings are those of the models in 16 bits; the UNet and the scheduler run in the dtype of `unet`."""
    parts = bench.components.text_to_image.components
    pipeline = StableDiffusionXLPipeline(**(parts | {"unet": unet}), add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = bench.components.scheduler("euler")
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    embeddings = pipeline.encode_prompt(PROMPT, negative_prompt=NEGATIVE_PROMPT, device=bench.device)
    latents = pipeline(
        **{name: each.to(unet.dtype) for name, each in zip(names, embeddings, strict=True)},
        latents=_noise(bench).to(bench.device, unet.dtype),
        width=bench.scale.edge_px,
        height=bench.scale.edge_px,
        num_inference_steps=bench.scale.steps,
        guidance_scale=GUIDANCE_SCALE,
        output_type="latent",
    ).images
    return latents.float().cpu()


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


def _file(bench: Bench) -> Path:
    return bench.folders.work / "reference.pt"


PARTS = (Part(reference, 15), Part(work, 3), Part(diffusers, 20), Part(engine, 25))
