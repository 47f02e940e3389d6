"""Finished latents of the engine and of diffusers, and how far they are from those in 32 bits."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.drawing import GUIDANCE_SCALE, NEGATIVE_PROMPT, PROMPT, Order, draw
from deployments.diffusion.engine import DiffusionEngine

import torch  # isort: skip
from diffusers import StableDiffusionXLPipeline  # isort: skip

SEED = 7


def reference_file(bench: Bench) -> Path:
    return bench.folders.work / "reference.pt"


def relative_error(bench: Bench, latents: torch.Tensor) -> float:
    """Against the 32 bit latents, by the norm of what the UNet added to the noise: the noise itself has no error."""
    saved = torch.load(reference_file(bench))
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


def noise_of(bench: Bench) -> torch.Tensor:
    """As the engine draws it for the seed."""
    shape = (1, 4, *bench.latents)
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(SEED))


@torch.inference_mode()
def latents_of_diffusers(bench: Bench, unet: Any) -> torch.Tensor:
    """The embeddings are those of the models in 16 bits; the UNet and the scheduler run in the dtype of `unet`."""
    encoder = bench.components.text_to_image
    embeddings = encoder.encode_prompt(PROMPT, negative_prompt=NEGATIVE_PROMPT, device=bench.device)
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    # With its text encoders the pipeline would bring the embeddings to their dtype.
    parts = encoder.components | {"unet": unet, "text_encoder": None, "text_encoder_2": None}
    pipeline = StableDiffusionXLPipeline(**parts, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = bench.components.scheduler("euler")
    latents = pipeline(
        **{name: each.to(unet.dtype) for name, each in zip(names, embeddings, strict=True)},
        latents=noise_of(bench).to(bench.device, unet.dtype),
        width=bench.scale.edge_px,
        height=bench.scale.edge_px,
        num_inference_steps=bench.scale.steps,
        guidance_scale=GUIDANCE_SCALE,
        output_type="latent",
    ).images
    finished: torch.Tensor = latents.float().cpu()
    return finished
