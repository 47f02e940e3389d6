"""Engines over a tiny checkpoint."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from PIL import Image

import deployments
from deployments.config import CheckpointConfig, EngineConfig
from deployments.contracts import Done, Event, PipelineResponse
from deployments.diffusion.components import Components, load_components
from deployments.diffusion.engine import DiffusionEngine
from deployments.jobs import Job, Pixels, TextToImageJob
from tests.checkpoints import build_checkpoint

SIZE_PX = 32
DEMO = Path(deployments.__file__).parent / "demo"
EMBEDDED = CheckpointConfig(path=str(DEMO / "model"), controlnet=str(DEMO / "controlnet"), dtype="float32")
"""The model that ships with the project."""


Build: TypeAlias = Callable[..., DiffusionEngine]


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def checkpoint(checkpoint_folder: Path) -> CheckpointConfig:
    return CheckpointConfig(
        path=str(checkpoint_folder / "model"), controlnet=str(checkpoint_folder / "controlnet"), dtype="float32"
    )


@pytest.fixture
def components(checkpoint: CheckpointConfig) -> Components:
    """Freshly loaded, so that a test may break them."""
    return load_components(checkpoint)


@pytest.fixture(scope="session")
def engine(checkpoint: CheckpointConfig) -> Iterator[DiffusionEngine]:
    engine = DiffusionEngine(checkpoint, EngineConfig(budget=16 * 32 * 32))  # room for a crowd in one pass
    yield engine
    engine.close()


@pytest.fixture
def build_engine(components: Components, checkpoint: CheckpointConfig) -> Iterator[Build]:
    """Builds an engine over `components` with the given engine settings; closes it after the test."""
    engines = []

    def build(**settings: Any) -> DiffusionEngine:
        engines.append(DiffusionEngine(checkpoint, EngineConfig(**settings), load=lambda *_: components))
        return engines[-1]

    yield build
    for engine in engines:
        engine.close()


def make_job(job_class: type[Job] = TextToImageJob, **fields: Any) -> Any:
    """A job of 4 steps at the checkpoint's own size, with `fields` changed."""
    size = fields.get("render_width_px", SIZE_PX), fields.get("render_height_px", SIZE_PX)
    defaults: dict[str, Any] = {
        "request_id": "test",
        "prompt": "a red cat on the house",
        "negative_prompt": "",
        "width_px": size[0],
        "height_px": size[1],
        "render_width_px": size[0],
        "render_height_px": size[1],
        "seeds": (0,),
        "steps": 4,
        "guidance_scale": 5.0,
        "scheduler": "euler",
        "deadline_unix_s": time.time() + 60,
    }
    return job_class(**(defaults | fields))


def random_picture(width_px: int = SIZE_PX, height_px: int = SIZE_PX) -> Pixels:
    """(height_px, width_px, 3) uint8: noise."""
    return np.random.default_rng(0).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


def half_mask(width_px: int = SIZE_PX, height_px: int = SIZE_PX) -> Pixels:
    """(height_px, width_px) uint8: the left half is drawn anew."""
    mask = np.zeros((height_px, width_px), dtype=np.uint8)
    mask[:, : width_px // 2] = 255
    return mask


async def events_of(engine: DiffusionEngine, job: Job) -> list[Event]:
    return [event async for event in engine.submit(job)]


async def respond(engine: DiffusionEngine, job: Job) -> PipelineResponse:
    last = (await events_of(engine, job))[-1]
    assert isinstance(last, Done)
    return last.response


async def wait_until(condition: Callable[[], bool]) -> None:
    """Waits for something that the engine's thread does."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (a thread's counter sets no asyncio.Event)
            await asyncio.sleep(0.005)


def draw(engine: DiffusionEngine, job: Job) -> list[Pixels]:
    """Runs a job alone; (height_px, width_px, 3) uint8 each."""
    return pixels_of(asyncio.run(respond(engine, job)))


def pixels_of(response: PipelineResponse) -> list[Pixels]:
    return [np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB")) for picture in response.pictures]


def largest_difference(one: Pixels, other: Pixels) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())
