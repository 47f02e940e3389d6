"""A picture depends on its job alone, whoever else is being drawn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.config import CheckpointConfig, EngineConfig
from deployments.diffusion.engine import DiffusionEngine
from deployments.jobs import ImageEditJob, Job, PoseControlJob, TextToImageJob
from deployments.schedulers import SCHEDULERS
from tests.deployments.diffusion.conftest import (
    EMBEDDED,
    draw,
    half_mask,
    largest_difference,
    make_job,
    pixels_of,
    random_picture,
    respond,
    wait_until,
)
from tests.deployments.diffusion.gate import Gate

PROMPTS = ("", "a red cat", "the blue dog on the red house in the " * 10, "house " * 200)


@st.composite
def jobs(draw_value: st.DrawFn) -> Any:
    width_px, height_px = draw_value(st.sampled_from([(32, 32), (32, 48), (16, 16)]))
    fields: dict[str, Any] = {
        "job_class": draw_value(st.sampled_from([TextToImageJob, ImageEditJob, PoseControlJob])),
        "prompt": draw_value(st.sampled_from(PROMPTS)),
        "negative_prompt": draw_value(st.sampled_from(PROMPTS)),
        "render_width_px": width_px,
        "render_height_px": height_px,
        "seeds": tuple(draw_value(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3))),
        "steps": draw_value(st.integers(2, 12)),
        "guidance_scale": draw_value(st.sampled_from([0.0, 1.0, 3.0, 7.5])),
        "scheduler": draw_value(st.sampled_from(sorted(SCHEDULERS))),
    }
    if fields["job_class"] is not TextToImageJob:
        fields["image"] = random_picture(width_px, height_px)
    if fields["job_class"] is ImageEditJob:
        fields["strength"] = draw_value(st.sampled_from([0.5, 0.8, 1.0]))
        fields["mask"] = draw_value(st.sampled_from([None, half_mask(width_px, height_px)]))
    if fields["job_class"] is PoseControlJob:
        fields["skeleton"] = random_picture(width_px, height_px)
        fields["controlnet_scale"] = draw_value(st.sampled_from([0.5, 1.0]))
        fields["control_end"] = draw_value(st.sampled_from([0.5, 1.0]))
    return make_job(**fields)


@pytest.fixture(scope="module")
def alone(checkpoint: CheckpointConfig) -> Iterator[DiffusionEngine]:
    """An engine that remembers no prompt, and so encodes each by itself."""
    engine = DiffusionEngine(checkpoint, EngineConfig(prompt_cache_bytes=0))
    yield engine
    engine.close()


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(crowd=st.lists(st.tuples(st.integers(0, 30), jobs()), min_size=2, max_size=7))
def test_drawn_in_a_crowd_as_alone(
    engine: DiffusionEngine, alone: DiffusionEngine, crowd: list[tuple[int, Job]]
) -> None:
    async def arrive(delay_ms: int, job: Job) -> Any:
        await asyncio.sleep(delay_ms / 1000)
        return pixels_of(await respond(engine, job))

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(arrive(delay_ms, job) for delay_ms, job in crowd))

    for (_, job), drawn in zip(crowd, asyncio.run(all_at_once()), strict=True):
        expected = draw(alone, job)
        assert all(largest_difference(one, other) <= 1 for one, other in zip(drawn, expected, strict=True))


def test_poses_edits_and_texts_share_their_passes(build_engine: Any, components: Any, alone: DiffusionEngine) -> None:
    """And one that leaves in the middle changes nothing for the others."""
    rows: list[int] = []
    components.unet.register_forward_pre_hook(lambda _, arguments: rows.append(len(arguments[0])))
    engine = build_engine(budget=16 * 16 * 16)
    posed: dict[str, Any] = {"image": random_picture(), "skeleton": random_picture(), "steps": 12}
    crowd = [
        make_job(steps=12, prompt="the blue dog"),
        make_job(PoseControlJob, controlnet_scale=1.0, control_end=0.5, **posed),
        make_job(PoseControlJob, controlnet_scale=0.4, guidance_scale=1.0, **posed),
        make_job(ImageEditJob, image=random_picture(), strength=1.0, steps=12, mask=half_mask()),
    ]

    async def with_one_that_leaves() -> list[Any]:
        leaves = asyncio.create_task(respond(engine, make_job(steps=1000)))
        await wait_until(lambda: engine.stats.ticks > 0)
        tasks = [asyncio.create_task(respond(engine, job)) for job in crowd]
        await wait_until(lambda: engine.stats.running == 1 + len(crowd))
        leaves.cancel()
        return await asyncio.gather(*tasks)

    responses = asyncio.run(with_one_that_leaves())
    assert max(rows) == 2 + sum(2 if job.guidance_scale > 1 else 1 for job in crowd)
    for job, response in zip(crowd, responses, strict=True):
        assert largest_difference(pixels_of(response)[0], draw(alone, job)[0]) <= 1


def test_steps_go_on_between_the_decodes_of_a_crowd(build_engine: Any, components: Any) -> None:
    calls: list[str] = []
    components.unet.register_forward_pre_hook(lambda _, arguments: calls.append(f"step {len(arguments[0])}"))
    components.vae.decoder.register_forward_pre_hook(lambda _, arguments: calls.append(f"decode {len(arguments[0])}"))
    gate = Gate(components.unet)
    engine = build_engine(budget=16 * 16 * 16, decode_batch=1)

    async def crowd() -> None:
        long = asyncio.create_task(respond(engine, make_job(steps=300)))
        await gate.wait_until_reached()  # the others come while its first step is held
        jobs = [make_job(steps=2, seeds=(seed,), guidance_scale=1.0) for seed in range(3)]
        short = [asyncio.create_task(respond(engine, job)) for job in jobs]
        await wait_until(lambda: len(engine._backlog) == 1 + len(short))
        gate.open()
        await asyncio.gather(*short)
        long.cancel()

    asyncio.run(crowd())
    first = calls.index("decode 1")
    assert calls[first : first + 5] == ["decode 1", "step 2", "decode 1", "step 2", "decode 1"]


def test_the_embedded_model_draws_in_a_crowd_as_alone() -> None:
    engine = DiffusionEngine(EMBEDDED, EngineConfig(budget=16 * 16 * 16))
    size: dict[str, Any] = {"render_width_px": 256, "render_height_px": 256}
    schedulers = ("euler", "dpmpp_2m", "euler_a", "unipc", "ddim")
    crowd = [make_job(steps=3 + n, guidance_scale=1 + n, scheduler=each, **size) for n, each in enumerate(schedulers)]

    async def joining() -> list[Any]:
        async def join(ticks: int, job: Job) -> Any:
            await wait_until(lambda: engine.stats.ticks >= ticks)
            return pixels_of(await respond(engine, job))

        return await asyncio.gather(*(join(ticks, job) for ticks, job in enumerate(crowd)))

    together = asyncio.run(joining())
    assert engine.stats.ticks < sum(job.steps for job in crowd)
    for job, drawn in zip(crowd, together, strict=True):
        assert largest_difference(drawn[0], draw(engine, job)[0]) <= 1
    engine.close()


def test_a_picture_of_several_is_the_picture_of_its_seed(engine: DiffusionEngine) -> None:
    fields: dict[str, Any] = {"job_class": ImageEditJob, "image": random_picture(), "strength": 0.8}
    fields |= {"mask": half_mask(), "scheduler": "euler_a", "steps": 6}
    together = draw(engine, make_job(seeds=(5, 6, 7), **fields))
    for picture, seed in zip(together, (5, 6, 7), strict=True):
        assert largest_difference(picture, draw(engine, make_job(seeds=(seed,), **fields))[0]) <= 1


def test_more_rows_than_the_budget_are_drawn_in_passes(engine: DiffusionEngine, build_engine: Any) -> None:
    job = make_job(seeds=(1, 2, 3))
    small = build_engine(budget=2 * 16 * 16)
    for one, other in zip(draw(small, job), draw(engine, job), strict=True):
        assert largest_difference(one, other) <= 1
