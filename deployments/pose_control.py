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
    """Draws `PoseControlJob`s: the pose estimator finds the people, the ControlNet holds the picture to their pose.

    Other jobs go to the engine as they are.
    """

    def __init__(
        self,
        build_engine: EngineBuilder,
        checkpoint: CheckpointConfig,
        config: EngineConfig,
        build_estimator: EstimatorBuilder,
    ) -> None:
        """Loads the checkpoint, and its ControlNet and pose estimator where it names them."""
        super().__init__(build_engine, checkpoint, config)
        self._estimator = build_estimator(checkpoint) if checkpoint.pose_estimator else None

    async def stream(self, job: Job) -> AsyncGenerator[Event, None]:
        """As `Pipeline.stream`; the answer to a `PoseControlJob` also has the skeleton.

        Raises:
            NoPoseFound: nobody is in the picture of such a job.
        """
        skeleton = None
        if isinstance(job, PoseControlJob):
            assert self._estimator is not None, "JobBuilder refuses poses for models without a pose estimator"
            skeleton = await asyncio.to_thread(self._estimator.skeleton, job.image)
            job = replace(job, skeleton=skeleton)
        async with aclosing(super().stream(job)) as events:
            async for event in events:
                if isinstance(event, Done) and skeleton is not None:
                    picture = await asyncio.to_thread(_encoded, skeleton, job)
                    event = Done(replace(event.response, skeleton=picture))
                yield event


def _encoded(skeleton: Pixels, job: Job) -> Picture:
    return encode_picture(scaled(skeleton, job.width_px, job.height_px), job.encoding, job.seeds[0])
