"""What is drawn for AUTOMATIC1111's clients on this replica: for `progress` and `interrupt`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from deployments.contracts import Progress
from serve_app.errors import Interrupted
from serve_app.responses import CompletedImage
from serve_app.streaming import StreamEvent


class Run:
    """One request."""

    def __init__(self, key_name: str) -> None:
        self.key_name = key_name
        self.progress = Progress(0, 0)
        self.is_interrupted = asyncio.Event()


class Runs:
    """The requests that are being drawn. A client sees and stops those of its own API key."""

    def __init__(self) -> None:
        self._runs: list[Run] = []

    def of(self, key_name: str) -> list[Run]:
        """The requests of an API key, oldest first."""
        return [run for run in self._runs if run.key_name == key_name]

    async def collect(self, key_name: str, events: AsyncGenerator[StreamEvent, None]) -> list[CompletedImage]:
        """The pictures at the end of `events`.

        Raises:
            Interrupted: the client wanted no more of it; the work has stopped.
        """
        run = Run(key_name)
        self._runs.append(run)
        collecting = asyncio.ensure_future(_pictures(run, events))
        interrupted = asyncio.ensure_future(run.is_interrupted.wait())
        try:
            await asyncio.wait({collecting, interrupted}, return_when=asyncio.FIRST_COMPLETED)
            if not collecting.done():
                raise Interrupted("The work was interrupted.")
            return collecting.result()
        finally:
            self._runs.remove(run)
            for task in (collecting, interrupted):
                task.cancel()
            await asyncio.gather(collecting, interrupted, return_exceptions=True)


async def _pictures(run: Run, events: AsyncGenerator[StreamEvent, None]) -> list[CompletedImage]:
    pictures = []
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Progress):
                run.progress = event
            elif isinstance(event, CompletedImage):
                pictures.append(event)
    return pictures
