"""PoseControl: picture of a person + prompt → pictures in that pose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TypeAlias

from deployments.config import CheckpointConfig, EngineConfig
from deployments.contracts import Done, Event, Picture, PoseEstimator
from deployments.encoding import encode_picture, scaled
from deployments.jobs import Job, Pixels, PoseControlJob
from deployments.pipeline import EngineBuilder, Pipeline

EstimatorBuilder: TypeAlias = Callable[[CheckpointConfig], PoseEstimator]


def build_estimator(checkpoint: CheckpointConfig) -> PoseEstimator:
    """The checkpoint's pose estimator."""
    from deployments.diffusion.pose import load_estimator

    return load_estimator(checkpoint)


class PoseControl(Pipeline):
    """Draws `PoseControlJob`s: the pose estimator finds the people, the ControlNet holds the picture to their pose."""

    def __init__(
        self,
        build_engine: EngineBuilder,
        checkpoint: CheckpointConfig,
        config: EngineConfig,
        build_estimator: EstimatorBuilder,
    ) -> None:
        """Loads the checkpoint, the ControlNet and the pose estimator."""
        super().__init__(build_engine, checkpoint, config)
        self._estimator = build_estimator(checkpoint)

    async def stream(self, job: Job) -> AsyncGenerator[Event, None]:
        """As `Pipeline.stream`; the answer also has the skeleton.

        Raises:
            NoPoseFound: nobody is in the job's picture.
        """
        assert isinstance(job, PoseControlJob)
        skeleton = await asyncio.to_thread(self._estimator.skeleton, job.image)
        async with aclosing(super().stream(replace(job, skeleton=skeleton))) as events:
            async for event in events:
                if isinstance(event, Done):
                    picture = await asyncio.to_thread(_encoded, skeleton, job)
                    event = Done(replace(event.response, skeleton=picture))
                yield event


def _encoded(skeleton: Pixels, job: Job) -> Picture:
    return encode_picture(scaled(skeleton, job.width_px, job.height_px), job.encoding, job.seeds[0])
