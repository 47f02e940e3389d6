"""Fakes at the interfaces in `deployments/contracts.py`: an engine that paints one colour, and a pose estimator."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from ray.serve import Application

from deployments.config import CheckpointConfig, EngineConfig
from deployments.contracts import (
    Done,
    Engine,
    Event,
    Picture,
    PipelineResponse,
    PoseEstimator,
    Preview,
    Progress,
    Queued,
)
from deployments.encoding import encode_picture
from deployments.engine_stats import EngineStats
from deployments.errors import DeadlineExceeded, GenerationFailed, JobTooLarge, NoPoseFound, PromptTooLong, ReplicaUnfit
from deployments.jobs import ImageEditJob, Job, Pixels
from deployments.masks import with_kept_parts
from serve_app.app import wire
from serve_app.config import AppConfig


class FakeEngine:
    """Paints a colour that depends on prompt and seed, where a mask does not keep the picture.

    Words of the prompt say how it behaves.

    `sleep=S`: takes S seconds. `fail`, `bug`, `unfit`, `too-long`, `too-large`: raises. `die=FILE`: kills its process
    in mid-job as long as FILE holds a number over 0, and counts it down; `die-late=FILE`, `fail-late`: the same after
    the previews.
    `break=FILE`: likewise, as a device that breaks while its process lives on.
    `mark=FILE`: writes "started", "done" or "cancelled" there. `count=FILE`: counts there how often it was started.
    """

    def __init__(self, checkpoint: CheckpointConfig, config: EngineConfig) -> None:
        if "missing" in checkpoint.path:
            raise FileNotFoundError(f"no checkpoint {checkpoint.path}")
        self.stats = EngineStats()
        self._broken = False

    async def submit(self, job: Job) -> AsyncGenerator[Event, None]:
        words = dict(re.findall(r"([a-z-]+)(?:=(\S+))?", job.prompt))
        mark = words.get("mark")
        _write(mark, "started")
        _count(words.get("count"))
        finished = False
        try:
            yield Queued(position=0)
            await self._behave(words, job)
            for step in range(1, job.steps + 1):
                yield Progress(step=step, steps=job.steps)
            for index in range(job.previews):
                for k, seed in enumerate(job.seeds):
                    yield Preview(index=index, picture_index=k, picture=self._picture(job, seed))
            await self._behave({name.removesuffix("-late"): words[name] for name in words if "-late" in name}, job)
            finished = True
            _write(mark, "done")
            pictures = tuple(self._picture(job, seed) for seed in job.seeds)
            yield Done(PipelineResponse(pictures, {"denoise": 0.001}, prompt_tokens=len(job.prompt.split())))
        finally:
            if not finished:
                _write(mark, "cancelled")

    def check_health(self) -> None:
        """Well until it is broken."""
        if self._broken:
            raise ReplicaUnfit("The device failed.")

    def close(self) -> None:
        """Nothing runs on."""

    async def _behave(self, words: dict[str, str], job: Job) -> None:
        if "fail" in words:
            raise GenerationFailed("The picture could not be drawn.")
        if "bug" in words:
            raise RuntimeError(f"secret detail of process {os.getpid()} in {__file__}")
        if "unfit" in words:
            raise ReplicaUnfit("The device failed.")
        if "too-large" in words:
            raise JobTooLarge("size 9999x9999 is more than this server can draw.", "size")
        if "too-long" in words:
            raise PromptTooLong("'prompt' has 999 tokens; at most 225 are allowed.", "prompt")
        if "break" in words and _count_down(words["break"]):
            self._broken = True
            raise ReplicaUnfit("The device failed.")
        if "die" in words:
            await asyncio.sleep(0.2)
            if _count_down(words["die"]):
                os.kill(os.getpid(), 9)
        sleep_s = float(words.get("sleep") or 0)
        if time.time() + sleep_s > job.deadline_unix_s:
            await asyncio.sleep(max(0.0, job.deadline_unix_s - time.time()) + 0.2)
            raise DeadlineExceeded("The job's time is over.")
        await asyncio.sleep(sleep_s)

    def _picture(self, job: Job, seed: int) -> Picture:
        colour = np.random.default_rng([seed, *job.prompt.encode()]).integers(0, 256, 3, dtype=np.uint8)
        pixels = np.broadcast_to(colour, (job.height_px, job.width_px, 3)).copy()
        if isinstance(job, ImageEditJob) and job.mask is not None:
            assert job.mask.shape == job.image.shape[:2]
        return encode_picture(with_kept_parts(pixels, job), job.encoding, seed)


class FakeEstimator:
    """Finds one person, standing, in every picture that is not all of one colour."""

    def skeleton(self, image: Pixels) -> Pixels:
        if len(np.unique(image.reshape(-1, 3), axis=0)) == 1:
            raise NoPoseFound("No person was found in the picture.", "image")
        height_px, width_px, _ = image.shape
        canvas = Image.new("RGB", (width_px, height_px))
        ImageDraw.Draw(canvas).line([(width_px // 2, height_px // 4), (width_px // 2, height_px // 2)], "red", 8)
        return np.asarray(canvas)


def build_fake_engine(checkpoint: CheckpointConfig, config: EngineConfig) -> Engine:
    """An `EngineBuilder`."""
    return FakeEngine(checkpoint, config)


def build_fake_estimator(checkpoint: CheckpointConfig) -> PoseEstimator:
    """An `EstimatorBuilder`."""
    return FakeEstimator()


def _write(file: str | None, text: str) -> None:
    if file:
        with open(file, "w", encoding="utf-8") as out:
            out.write(text)


def _count(file: str | None) -> None:
    if file:
        _write(file, str(_read(file) + 1 if os.path.exists(file) else 1))


def _count_down(file: str) -> bool:
    """Takes one from the number in a file; False where it is 0."""
    number = _read(file)
    if number > 0:
        _write(file, str(number - 1))
    return number > 0


def _read(file: str) -> int:
    with open(file, encoding="utf-8") as lines:
        return int(lines.read())


def build_fake_app(args: dict[str, Any]) -> Application:
    """`import_path` of a Serve YAML file: the graph with fake engines."""
    return wire(AppConfig.model_validate(args), build_fake_engine, build_fake_estimator)
