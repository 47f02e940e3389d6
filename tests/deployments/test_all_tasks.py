"""One engine for all three tasks draws what three engines draw, and draws it together."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from deployments.all_tasks import AllTasks
from deployments.config import CheckpointConfig, EngineConfig
from deployments.contracts import Done, Engine, Picture, PipelineResponse, PoseEstimator, Progress
from deployments.diffusion.engine import DiffusionEngine
from deployments.image_edit import ImageEdit
from deployments.jobs import ImageEditJob, Job, PoseControlJob, TextToImageJob
from deployments.pipeline import Pipeline, build_engine
from deployments.pose_control import PoseControl, build_estimator
from deployments.text_to_image import TextToImage
from tests.deployments.diffusion.conftest import DEMO, EMBEDDED, make_job
from training.scenes import Scene, render, sample_scene

CHECKPOINT = EMBEDDED.model_copy(update={"pose_estimator": str(DEMO / "pose")})
WITHOUT_POSES = EMBEDDED.model_copy(update={"controlnet": None})
ENGINE = EngineConfig(channels_last=True, budget=8192)  # as in demo.yaml
SIZE_PX = 256
STEPS = 40
PERSON = render(sample_scene(np.random.default_rng(2), "person"), SIZE_PX)
CIRCLE = render(Scene("circle", "red", "white", size=0.35), SIZE_PX)


def jobs() -> list[Job]:
    """One of each task, each of `STEPS` steps and two rows."""
    common = {"render_width_px": SIZE_PX, "render_height_px": SIZE_PX, "steps": STEPS}
    return [
        make_job(TextToImageJob, prompt="a red star on a blue background", seeds=(7,), **common),
        make_job(ImageEditJob, prompt="a blue circle", seeds=(8,), image=CIRCLE, strength=1.0, **common),
        make_job(PoseControlJob, prompt="a red person", seeds=(9,), image=PERSON, controlnet_scale=1.0, **common),
    ]


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[AllTasks, Engine]]:
    """The deployment, and its engine."""
    engine = DiffusionEngine(CHECKPOINT, ENGINE)
    yield AllTasks(lambda *_: engine, CHECKPOINT, ENGINE, build_estimator), engine
    engine.close()


def pixels(picture: Picture | None) -> np.ndarray:
    """(height, width, 3) int64."""
    assert picture is not None
    return np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB")).astype(int)


async def together(pipeline: Pipeline, engine: Engine) -> tuple[list[PipelineResponse], list[int]]:
    """The jobs' answers when they are sent at the same time, and the rows of the passes that were seen meanwhile."""
    rows = []

    async def draw(job: Job) -> PipelineResponse:
        async for event in pipeline.stream(job):
            if isinstance(event, Progress):
                rows.append(engine.stats.rows)
            if isinstance(event, Done):
                return event.response
        raise AssertionError("no answer")

    return await asyncio.gather(*map(draw, jobs())), rows


def test_the_three_tasks_share_forward_passes_and_are_drawn_as_by_engines_of_their_own(
    shared: tuple[AllTasks, Engine],
) -> None:
    all_tasks, engine = shared
    ticks = engine.stats.ticks
    drawn, rows = asyncio.run(together(all_tasks, engine))
    assert max(rows) == 6, "two rows of each of the three jobs"
    assert engine.stats.ticks - ticks < 1.5 * STEPS, "three jobs one after the other take 3 times as many"

    separate = [
        TextToImage(build_engine, WITHOUT_POSES, ENGINE),
        ImageEdit(build_engine, WITHOUT_POSES, ENGINE),
        PoseControl(build_engine, CHECKPOINT, ENGINE, build_estimator),
    ]
    for pipeline, job, its in zip(separate, jobs(), drawn, strict=True):
        alone = asyncio.run(pipeline.draw(job))
        assert alone.pictures[0].seed == its.pictures[0].seed
        assert np.abs(pixels(alone.pictures[0]) - pixels(its.pictures[0])).max() <= 1
        assert (alone.skeleton is None) == (its.skeleton is None) == (not isinstance(job, PoseControlJob))
        if its.skeleton:
            assert np.array_equal(pixels(alone.skeleton), pixels(its.skeleton))


def test_a_model_without_a_controlnet_draws_the_other_two_without_an_estimator() -> None:
    def no_estimator(checkpoint: CheckpointConfig) -> PoseEstimator:
        raise AssertionError("the checkpoint names none")

    all_tasks = AllTasks(build_engine, WITHOUT_POSES, ENGINE, no_estimator)
    for job in jobs()[:2]:
        assert asyncio.run(all_tasks.draw(job)).skeleton is None
