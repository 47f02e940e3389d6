"""What goes wrong with a job harms that job, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import torch

from deployments.contracts import PipelineResponse
from deployments.diffusion.components import Components
from deployments.diffusion.engine import DiffusionEngine
from deployments.errors import GenerationFailed, JobError, JobTooLarge, PromptTooLong
from deployments.jobs import ImageEditJob, PoseControlJob
from tests.deployments.diffusion.conftest import (
    Build,
    draw,
    largest_difference,
    make_job,
    random_picture,
    respond,
)

# A job's own error


def test_refused_before_it_starts(engine: DiffusionEngine) -> None:
    refusals = {
        "size": make_job(render_width_px=33),
        "scheduler": make_job(scheduler="nonsense"),
        "steps": make_job(scheduler="lcm", steps=51),
        "strength": make_job(ImageEditJob, image=random_picture(), strength=0.1),
        "model": make_job(PoseControlJob, image=random_picture(), controlnet_scale=1.0),
        "prompt": make_job(prompt="house " * 226),
        "negative_prompt": make_job(negative_prompt="house " * 226),
    }
    for param, job in refusals.items():
        with pytest.raises(JobError) as refusal:
            asyncio.run(respond(engine, job))
        assert refusal.value.param == param
        assert isinstance(refusal.value, PromptTooLong) == ("prompt" in param)


def test_a_job_that_never_fits_is_refused(build_engine: Build) -> None:
    engine = build_engine(budget=16 * 16)
    with pytest.raises(JobTooLarge) as refusal:
        asyncio.run(respond(engine, make_job(render_width_px=48)))
    draw(engine, make_job())
    assert refusal.value.param == "size"


class BreakingScheduler:
    """A scheduler that raises at its third step."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._steps = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    def step(self, *arguments: Any, **named: Any) -> Any:
        self._steps += 1
        if self._steps == 3:
            raise ArithmeticError("the third step")
        return self._scheduler.step(*arguments, **named)


class BrokenHeun(Components):
    def scheduler(self, name: str) -> Any:
        scheduler = super().scheduler(name)
        return BreakingScheduler(scheduler) if name == "heun" else scheduler


def test_a_job_that_breaks_its_scheduler_ends_alone(checkpoint: Any, components: Components) -> None:
    broken = BrokenHeun(components.text_to_image, components.controlnet)
    engine = DiffusionEngine(checkpoint, load=lambda *_: broken)
    bad, good = make_job(scheduler="heun", steps=8), make_job(steps=8)

    async def both() -> Any:
        return await asyncio.gather(respond(engine, bad), respond(engine, good), return_exceptions=True)

    failed, finished = asyncio.run(both())
    assert isinstance(failed, GenerationFailed)
    assert isinstance(finished, PipelineResponse)
    assert engine.stats.failed == 1
    engine.close()


def test_a_job_that_breaks_the_forward_pass_ends_alone(build_engine: Build, components: Components) -> None:
    def refuse_the_first_timestep(_: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        if bool((arguments[1] == 999).any()):
            raise ValueError("timestep 999")

    components.unet.register_forward_pre_hook(refuse_the_first_timestep)
    engine = build_engine()
    bad, good = make_job(), make_job(ImageEditJob, image=random_picture(), strength=0.5)

    async def both() -> Any:
        return await asyncio.gather(respond(engine, bad), respond(engine, good), return_exceptions=True)

    failed, finished = asyncio.run(both())
    assert isinstance(failed, GenerationFailed)
    assert isinstance(finished, PipelineResponse)


# Not a number


def test_a_picture_that_is_not_finite_is_decoded_again(build_engine: Build, components: Components) -> None:
    decodes = []

    def first_is_nan(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        decodes.append(len(output))
        return output * torch.nan if len(decodes) == 1 else output

    expected = draw(build_engine(), make_job())[0]
    components.vae.decoder.register_forward_hook(first_is_nan)
    engine = build_engine()
    assert largest_difference(draw(engine, make_job())[0], expected) <= 1
    assert engine.stats.nan_retries == 1
    assert engine.stats.finished == 1


def test_the_second_decode_of_a_sixteen_bit_vae_is_in_fp32(build_engine: Build, components: Components) -> None:
    components.vae.to(torch.bfloat16)
    dtypes = []

    def first_is_nan(decoder: Any, _: Any, output: torch.Tensor) -> torch.Tensor:
        dtypes.append(next(decoder.parameters()).dtype)
        return output * torch.nan if len(dtypes) == 1 else output

    components.vae.decoder.register_forward_hook(first_is_nan)
    draw(build_engine(), make_job())
    assert dtypes == [torch.bfloat16, torch.float32]
    assert components.vae.dtype == torch.bfloat16


def test_a_picture_that_stays_not_finite_is_an_error(build_engine: Build, components: Components) -> None:
    poison = components.vae.decoder.register_forward_hook(lambda _, __, output: output * torch.nan)
    engine = build_engine()
    with pytest.raises(GenerationFailed):
        draw(engine, make_job())
    poison.remove()
    draw(engine, make_job())
