"""Loading, and what else a checkpoint decides."""

from __future__ import annotations

import asyncio
import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deployments.config import CheckpointConfig, EngineConfig
from deployments.contracts import Done, Preview, Progress
from deployments.diffusion.components import CheckpointError, load_components
from deployments.diffusion.engine import DiffusionEngine
from deployments.jobs import Job, PoseControlJob
from tests.deployments.diffusion.conftest import (
    draw,
    events_of,
    largest_difference,
    make_job,
    random_picture,
    respond,
)


def test_loading_shows_no_progress_bar(checkpoint: CheckpointConfig, capfd: pytest.CaptureFixture[str]) -> None:
    load_components(checkpoint)
    assert "%" not in capfd.readouterr().err


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        load_components(CheckpointConfig(path=str(tmp_path)))
    assert str(tmp_path) in str(error.value)
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_a_missing_controlnet_is_named(checkpoint: CheckpointConfig, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        load_components(checkpoint.model_copy(update={"controlnet": str(tmp_path)}))


def test_another_vae_takes_the_place_of_the_checkpoints_own(
    checkpoint: CheckpointConfig, checkpoint_folder: Path
) -> None:
    replaced = load_components(checkpoint.model_copy(update={"vae": str(checkpoint_folder / "model" / "vae")}))
    assert replaced.vae.config._name_or_path == str(checkpoint_folder / "model" / "vae")


def test_sixteen_bits_draw_nearly_the_same_picture(checkpoint: CheckpointConfig, engine: DiffusionEngine) -> None:
    """The noise is drawn and the schedulers run in fp32, whatever the models' type."""
    half = DiffusionEngine(checkpoint.model_copy(update={"dtype": "bfloat16"}))
    assert largest_difference(draw(half, make_job())[0], draw(engine, make_job())[0]) < 32
    half.close()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_an_overflowing_vae_stays_in_fp32(checkpoint: CheckpointConfig, dtype: str) -> None:
    components = load_components(checkpoint.model_copy(update={"dtype": dtype}))
    assert (components.unet.dtype, components.vae.dtype) == (getattr(torch, dtype), torch.float32)


@pytest.mark.parametrize("decoder", [None, "preview"])
def test_previews_come_between_steps_and_are_small(
    checkpoint: CheckpointConfig, checkpoint_folder: Path, decoder: str | None
) -> None:
    config = EngineConfig(preview_decoder=decoder and str(checkpoint_folder / decoder), preview_px=16)
    engine = DiffusionEngine(checkpoint, config)
    events = asyncio.run(events_of(engine, make_job(steps=9, previews=2, seeds=(3, 4))))
    engine.close()
    previews = [event for event in events if isinstance(event, Preview)]
    assert [(each.index, each.picture_index) for each in previews] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    pictures = [Image.open(io.BytesIO(each.picture.data)) for each in previews]
    assert {picture.size for picture in pictures} == {(16, 16)}
    assert all(np.asarray(picture).std() > 1 for picture in pictures)
    steps = [event.step for event in events if isinstance(event, Progress)]
    assert steps == list(range(1, 10))
    assert isinstance(events[-1], Done)


def test_every_stage_is_timed(engine: DiffusionEngine) -> None:
    response = asyncio.run(respond(engine, make_job()))
    assert list(response.stages_s) == ["queue", "encode_prompt", "denoise", "decode", "encode"]
    assert all(seconds >= 0 for seconds in response.stages_s.values())
    assert response.prompt_tokens == len(["a", "red", "cat", "on", "the", "house"])


@pytest.mark.parametrize("switch", ["channels_last", "fuse_qkv"])
def test_the_devices_abilities_change_no_picture(
    build_engine: Callable[..., DiffusionEngine], engine: DiffusionEngine, switch: str
) -> None:
    changed = build_engine(**{switch: True})
    for job in (make_job(), pose_job()):
        assert largest_difference(draw(changed, job)[0], draw(engine, job)[0]) <= 1


def test_models_that_were_optimized_can_be_taken_over(
    build_engine: Callable[..., DiffusionEngine], engine: DiffusionEngine
) -> None:
    """As `benchmarks.gpu` does with its eager and its compiled engine."""
    draw(build_engine(fuse_qkv=True), make_job())
    assert largest_difference(draw(build_engine(fuse_qkv=True), make_job())[0], draw(engine, make_job())[0]) <= 1


def pose_job() -> Job:
    job: Job = make_job(PoseControlJob, image=random_picture(), skeleton=random_picture(), controlnet_scale=1.0)
    return job
