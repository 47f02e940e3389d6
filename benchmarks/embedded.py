"""The embedded model, its jobs, and diffusers' pipeline around it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import deployments
from deployments.config import CheckpointConfig
from deployments.contracts import TextToImageJob
from deployments.diffusion.components import Components

import torch  # isort: skip  (after deployments.diffusion: see there)

CHECKPOINT = CheckpointConfig(path=str(Path(deployments.__file__).parent / "demo" / "model"), dtype="float32")
PROMPT = "a red circle on a blue background"
GUIDANCE_SCALE = 4.0
SCHEDULER = "euler"


def make_job(edge_px: int, steps: int, seed: int) -> TextToImageJob:
    """One square picture."""
    return TextToImageJob(
        request_id=f"benchmark-{seed}",
        prompt=PROMPT,
        negative_prompt="",
        width_px=edge_px,
        height_px=edge_px,
        render_width_px=edge_px,
        render_height_px=edge_px,
        seeds=(seed,),
        steps=steps,
        guidance_scale=GUIDANCE_SCALE,
        scheduler=SCHEDULER,
        deadline_unix_s=time.time() + 3600,
    )


def draw_with_diffusers(components: Components, edge_px: int, steps: int, seeds: list[int]) -> Any:
    """A static batch: all pictures have the same size and steps. Returns PIL images."""
    pipeline = components.text_to_image
    pipeline.scheduler = components.scheduler(SCHEDULER)
    with torch.inference_mode():
        return pipeline(
            prompt=[PROMPT] * len(seeds),
            width=edge_px,
            height=edge_px,
            num_inference_steps=steps,
            guidance_scale=GUIDANCE_SCALE,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        ).images
