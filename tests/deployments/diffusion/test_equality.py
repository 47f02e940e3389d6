"""The engine draws what diffusers' own pipelines draw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from PIL import Image

from deployments.config import CheckpointConfig
from deployments.diffusion.components import Components, load_components
from deployments.diffusion.engine import DiffusionEngine
from deployments.jobs import ImageEditJob, Job, Pixels, PoseControlJob
from deployments.schedulers import SCHEDULERS
from tests.deployments.diffusion.conftest import EMBEDDED, draw, half_mask, largest_difference, make_job, random_picture


def draw_with_diffusers(job: Job, components: Components) -> Pixels:
    """What the pipeline for `job` draws alone: (height_px, width_px, 3) uint8 of its first picture."""
    pipeline: Any = components.text_to_image
    inputs: dict[str, Any] = {"width": job.render_width_px, "height": job.render_height_px}
    if isinstance(job, ImageEditJob):
        pipeline, picture = components.image_to_image, {"image": Image.fromarray(job.image), "strength": job.strength}
        inputs = picture
        if job.mask is not None:
            pipeline = components.inpaint
            inputs = picture | {"width": job.render_width_px, "height": job.render_height_px}
            inputs["mask_image"] = Image.fromarray(job.mask)
    if isinstance(job, PoseControlJob):
        assert job.skeleton is not None
        pipeline = components.pose_control
        inputs["image"] = Image.fromarray(job.skeleton)
        inputs["controlnet_conditioning_scale"] = job.controlnet_scale
        inputs["control_guidance_start"], inputs["control_guidance_end"] = job.control_start, job.control_end
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = components.scheduler(job.scheduler)
    picture = pipeline(
        prompt=job.prompt,
        negative_prompt=job.negative_prompt or None,
        num_inference_steps=job.steps,
        guidance_scale=job.guidance_scale,
        generator=torch.Generator("cpu").manual_seed(job.seeds[0]),
        output_type="pil",
        **inputs,
    ).images[0]
    return np.asarray(picture)


@pytest.fixture(scope="module", params=["tiny", "embedded"])
def checkpoint_and_size(request: pytest.FixtureRequest, checkpoint: CheckpointConfig) -> tuple[CheckpointConfig, int]:
    """A checkpoint and the edge of its pictures in pixels."""
    return (checkpoint, 32) if request.param == "tiny" else (EMBEDDED, 256)


@pytest.fixture(scope="module")
def engine(checkpoint_and_size: tuple[CheckpointConfig, int]) -> Iterator[DiffusionEngine]:
    engine = DiffusionEngine(checkpoint_and_size[0])
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def components(checkpoint_and_size: tuple[CheckpointConfig, int]) -> Components:
    return load_components(checkpoint_and_size[0])


def make(kind: str, edge_px: int, **fields: Any) -> Job:
    """A job for text-to-image, img2img, inpainting or a pose."""
    image = random_picture(edge_px, edge_px)
    of_kind: dict[str, dict[str, Any]] = {
        "text": {},
        "image": {"job_class": ImageEditJob, "image": image, "strength": 0.7},
        "mask": {"job_class": ImageEditJob, "image": image, "strength": 0.7, "mask": half_mask(edge_px, edge_px)},
        "pose": {"job_class": PoseControlJob, "image": image, "skeleton": image, "controlnet_scale": 0.8}
        | {"control_start": 0.1, "control_end": 0.7},
    }
    job: Job = make_job(render_width_px=edge_px, render_height_px=edge_px, **fields, **of_kind[kind])
    return job


OF_EACH_KIND = ("euler", "dpmpp_2m_sde_karras", "euler_a", "unipc", "lcm")
"""Schedulers that the embedded model is drawn with too: a plain one, and those that differ in what they keep."""


@pytest.mark.parametrize(
    ("checkpoint_and_size", "scheduler"),
    [*(("tiny", each) for each in SCHEDULERS), *(("embedded", each) for each in OF_EACH_KIND)],
    indirect=["checkpoint_and_size"],
)
@pytest.mark.parametrize("kind", ["text", "image", "mask", "pose"])
def test_equals_the_pipeline(
    engine: DiffusionEngine,
    components: Components,
    checkpoint_and_size: tuple[CheckpointConfig, int],
    kind: str,
    scheduler: str,
) -> None:
    _, edge_px = checkpoint_and_size
    job = make(kind, edge_px, scheduler=scheduler, steps=5, seeds=(11,), negative_prompt="a blue dog")
    drawn, expected = draw(engine, job)[0], draw_with_diffusers(job, components)
    assert largest_difference(drawn, expected) <= 1
    assert expected.std() > 1


@pytest.mark.parametrize("checkpoint_and_size", ["tiny"], indirect=True)
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_draws_in_few_steps(
    engine: DiffusionEngine, components: Components, scheduler: str, steps: int
) -> None:
    job = make("text", 32, scheduler=scheduler, steps=steps)
    assert largest_difference(draw(engine, job)[0], draw_with_diffusers(job, components)) <= 1


@pytest.mark.parametrize("kind", ["text", "image", "mask", "pose"])
@pytest.mark.parametrize("guidance_scale", [0.0, 1.0, 9.0])
def test_equals_the_pipeline_at_every_guidance(
    engine: DiffusionEngine,
    components: Components,
    checkpoint_and_size: tuple[CheckpointConfig, int],
    kind: str,
    guidance_scale: float,
) -> None:
    """Also without a negative prompt, and at strength 1."""
    job = make(kind, checkpoint_and_size[1], guidance_scale=guidance_scale)
    if isinstance(job, ImageEditJob):
        job = replace(job, strength=1.0)
    assert largest_difference(draw(engine, job)[0], draw_with_diffusers(job, components)) <= 1


@pytest.mark.parametrize("kind", ["text", "pose"])
def test_equals_the_pipeline_with_a_guidance_distilled_unet(
    checkpoint: CheckpointConfig, tmp_path: Path, kind: str
) -> None:
    """As of latent consistency models: the guidance scale is an input of the UNet, and of no ControlNet."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(checkpoint.path)
    torch.manual_seed(0)
    pipeline.register_modules(unet=UNet2DConditionModel.from_config({**pipeline.unet.config, "time_cond_proj_dim": 8}))
    pipeline.save_pretrained(tmp_path)
    distilled = checkpoint.model_copy(update={"path": str(tmp_path)})
    engine = DiffusionEngine(distilled)
    job = make(kind, 32, guidance_scale=7.5, scheduler="lcm")
    assert largest_difference(draw(engine, job)[0], draw_with_diffusers(job, load_components(distilled))) <= 1
    engine.close()
