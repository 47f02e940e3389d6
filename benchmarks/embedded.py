"""The embedded model, its jobs, and diffusers' pipeline around it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import deployments
from deployments.config import CheckpointConfig, EngineConfig
from deployments.diffusion.components import Components
from deployments.diffusion.engine import DiffusionEngine
from deployments.jobs import TextToImageJob
from serve_app.environment import service_environment

import torch  # isort: skip  (after deployments.diffusion: see there)

CHECKPOINT = CheckpointConfig(path=str(Path(deployments.__file__).parent / "demo" / "model"), dtype="float32")
ENGINE = EngineConfig(channels_last=True, budget=8192)  # as in demo.yaml
PROMPT = "a red circle on a blue background"
GUIDANCE_SCALE = 4.0
SCHEDULER = "euler"


def run_as_the_service_does() -> None:
    """Starts this command anew with the service's environment variables, unless it has them already."""
    wanted = _variables()
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})


def users_environment() -> dict[str, str]:
    """The environment of a user's shell: this command's, without the variables that the service's launcher sets."""
    ours = _variables()
    return {name: value for name, value in os.environ.items() if name not in ours}


def _variables() -> dict[str, str]:
    """What the launcher sets for the embedded model's service."""
    return service_environment(engines=1)


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


def engine_over(components: Components, config: EngineConfig = ENGINE) -> DiffusionEngine:
    """An engine over models that others use too. It is warm: that changes the layout of the weights, and whoever reads
    them meanwhile gets torn ones."""
    engine = DiffusionEngine(CHECKPOINT, config, load=lambda *_: components)
    engine.warm_up()
    return engine


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
