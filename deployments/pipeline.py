"""What the GPU deployments have in common: a replica owns one engine and turns jobs into engine work."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeAlias

from deployments.config import CheckpointConfig, EngineConfig
from deployments.contracts import Done, Engine, Event, PipelineResponse
from deployments.errors import GenerationFailed, ReplicaUnfit
from deployments.jobs import Job
from deployments.metrics import StatsExport

EngineBuilder: TypeAlias = Callable[[CheckpointConfig, EngineConfig], Engine]

END_DELAY_S = 1.0
"""Time for what is finished to go out before the process of a broken engine ends."""


def build_engine(checkpoint: CheckpointConfig, config: EngineConfig) -> Engine:
    """Loads the checkpoint and warms it up. Imports torch only here, on the replica."""
    from deployments.diffusion.engine import DiffusionEngine

    engine = DiffusionEngine(checkpoint, config)
    engine.warm_up()
    return engine


class Pipeline:
    """Base of the GPU deployments."""

    def __init__(self, build_engine: EngineBuilder, checkpoint: CheckpointConfig, config: EngineConfig) -> None:
        """Loads the checkpoint and warms the engine up; the replica is ready when this returns."""
        self._engine = build_engine(checkpoint, config)
        self._metrics = StatsExport()

    async def stream(self, job: Job) -> AsyncGenerator[Event, None]:
        """Draws `job` and yields its events, `Done` last. Cancelling the call drops the job within one step."""
        try:
            self._engine.check_health()
            async with aclosing(self._engine.submit(job)) as events:
                async for event in events:
                    yield event
        except ReplicaUnfit:
            if self._is_unfit():
                # An answer would send the job back to this replica, which looks idle. Its end sends it to another.
                await asyncio.sleep(10 * END_DELAY_S)
            raise

    async def draw(self, job: Job) -> PipelineResponse:
        """Draws `job`. Cancelling the call drops the job within one step."""
        async with aclosing(self.stream(job)) as events:
            async for event in events:
                if isinstance(event, Done):
                    return event.response
        raise GenerationFailed("The engine ended the job without a picture.")

    def __del__(self) -> None:
        """Serve calls this when it stops the replica: after it sent no more jobs and gave those in hand their time."""
        if hasattr(self, "_engine"):
            self._engine.close()

    async def check_health(self) -> None:
        """Serve calls this every few seconds and replaces the replica when it raises."""
        self._metrics.export(self._engine.stats)
        if self._is_unfit():
            self._engine.check_health()  # says why

    def _is_unfit(self) -> bool:
        """Whether the engine can no longer draw. Then the process ends soon, by itself.

        Serve replaces a replica after three failed checks. Until then this one would refuse every job at once, and so
        look the least busy and draw jobs away from those that work; a dead process draws none.
        """
        try:
            self._engine.check_health()
        except ReplicaUnfit:
            asyncio.get_running_loop().call_later(END_DELAY_S, os._exit, 1)
            return True
        return False
