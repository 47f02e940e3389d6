"""The engine draws what diffusers' own pipelines draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from deployments.contracts import ImageEditJob, Job, Pixels, PoseControlJob
from deployments.diffusion.components import Components
from deployments.diffusion.engine import DiffusionEngine
from deployments.schedulers import SCHEDULERS
from tests.deployments.diffusion.conftest import draw, half_mask, largest_difference, make_job, random_picture


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


JOBS: dict[str, Any] = {
    "text": {},
    "image": {"job_class": ImageEditJob, "image": random_picture(), "strength": 0.7},
    "mask": {"job_class": ImageEditJob, "image": random_picture(), "strength": 0.7, "mask": half_mask()},
    "pose": {"job_class": PoseControlJob, "image": random_picture(), "skeleton": random_picture()},
}
JOBS["pose"] |= {"controlnet_scale": 0.8, "control_start": 0.1, "control_end": 0.7}


@pytest.mark.parametrize("kind", JOBS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_equals_the_pipeline(engine: DiffusionEngine, components: Components, kind: str, scheduler: str) -> None:
    job = make_job(scheduler=scheduler, steps=7, seeds=(11,), negative_prompt="a blue dog", **JOBS[kind])
    drawn, expected = draw(engine, job)[0], draw_with_diffusers(job, components)
    assert largest_difference(drawn, expected) <= 1
    assert expected.std() > 1
