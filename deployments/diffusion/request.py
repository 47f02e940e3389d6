"""A submitted job, seen from both sides: the engine's thread posts events, the caller's event loop receives them."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future

from deployments.contracts import Event
from deployments.diffusion.trajectory import Trajectory
from deployments.errors import DeadlineExceeded
from deployments.jobs import Job


class Request:
    """One job in the engine, with its way back to the caller. Made in the caller's event loop."""

    def __init__(self, job: Job, trajectory: Trajectory) -> None:
        self.job = job
        self.trajectory = trajectory
        self.submitted_s = time.monotonic()
        self.deadline_s = self.submitted_s + job.deadline_unix_s - time.time()
        self.stages_s: dict[str, float] = {}
        self.previews: list[Future[None]] = []
        """Previews that are being written; they come before `Done`."""
        self.not_finite = 0
        """Decodes that gave no valid picture: after one the VAE tries in fp32, after two the job has failed."""
        self.abandoned = False
        """Nobody waits any more. Set by the caller's loop, read by the engine's thread at each tick."""
        self._marked_s = self.submitted_s
        self._loop = asyncio.get_running_loop()
        self._outbox: asyncio.Queue[Event | Exception] = asyncio.Queue()

    @property
    def overdue(self) -> bool:
        return time.time() > self.job.deadline_unix_s

    def mark(self, stage: str) -> None:
        """Ends `stage`: it took the time since the end of the one before it."""
        now = time.monotonic()
        self.stages_s[stage] = self.stages_s.get(stage, 0.0) + now - self._marked_s
        self._marked_s = now

    def post(self, item: Event | Exception) -> None:
        """Sends an event, or the error that ends the job. From any thread."""
        try:
            self._loop.call_soon_threadsafe(self._outbox.put_nowait, item)
        except RuntimeError:  # the loop is closed
            self.abandoned = True

    async def receive(self) -> Event:
        """The next event.

        Raises:
            DeadlineExceeded: the job's deadline passed, even if the engine does not answer.
            ServiceError: what ended the job.
        """
        try:
            async with asyncio.timeout(self.job.deadline_unix_s - time.time()):
                item = await self._outbox.get()
        except TimeoutError:
            raise deadline_exceeded() from None
        if isinstance(item, Exception):
            raise item
        return item


def deadline_exceeded() -> DeadlineExceeded:
    return DeadlineExceeded("The pictures were not done within the time limit.")
