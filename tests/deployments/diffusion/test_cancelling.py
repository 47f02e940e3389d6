"""Jobs that nobody waits for any more, or not for that long."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import Any

import pytest

from deployments.contracts import Progress, Queued
from deployments.diffusion.components import Components
from deployments.diffusion.engine import DiffusionEngine
from deployments.errors import DeadlineExceeded
from tests.deployments.diffusion.conftest import (
    Build,
    draw,
    make_job,
    respond,
    wait_until,
)
from tests.deployments.diffusion.gate import Gate


@pytest.mark.parametrize("stage", ["text_encoder", "unet", "vae.decoder"])
def test_cancelled_job_leaves(build_engine: Build, components: Components, stage: str) -> None:
    """While its prompt is encoded, while it is denoised, while it is decoded."""
    gate = Gate(components.text_to_image.components[stage.split(".")[0]].get_submodule("".join(stage.split(".")[1:])))
    engine = build_engine()

    async def cancel() -> None:
        task = asyncio.create_task(respond(engine, make_job(steps=1 if stage == "vae.decoder" else 1000)))
        await gate.wait_until_reached()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open()
        if stage != "vae.decoder":
            await wait_until(lambda: engine.stats.cancelled == 1)
        await wait_until(lambda: engine.stats.finished + engine.stats.cancelled == 1)
        assert engine.stats.ticks <= 2

    asyncio.run(cancel())
    draw(engine, make_job())


def test_cancelled_waiting_job_never_starts(build_engine: Build, components: Components) -> None:
    gate = Gate(components.unet)
    engine = build_engine()

    async def cancel() -> None:
        first = asyncio.create_task(respond(engine, make_job()))
        await gate.wait_until_reached()
        events = engine.submit(make_job(steps=1000))
        assert await anext(events) == Queued(1)
        await events.aclose()
        gate.open()
        await first
        await wait_until(lambda: engine.stats.cancelled == 1)
        assert engine.stats.ticks == 4

    asyncio.run(cancel())


def test_a_consumer_that_stops_listening_drops_the_job(engine: DiffusionEngine) -> None:
    async def stop_after_two_steps() -> None:
        before = engine.stats.cancelled
        async with aclosing(engine.submit(make_job(steps=1000))) as events:
            async for event in events:
                if isinstance(event, Progress) and event.step == 2:
                    break
        await wait_until(lambda: engine.stats.cancelled == before + 1)

    asyncio.run(stop_after_two_steps())


def test_deadline_while_drawn_and_while_waiting(build_engine: Build) -> None:
    engine = build_engine(budget=2 * 16 * 16, overtaking=0)

    async def both() -> list[Any]:
        jobs = (make_job(steps=1000, deadline_unix_s=time.time() + 0.4) for _ in range(2))
        return await asyncio.gather(*(respond(engine, job) for job in jobs), return_exceptions=True)

    errors = asyncio.run(both())
    ticks = engine.stats.ticks
    assert [type(error) for error in errors] == [DeadlineExceeded, DeadlineExceeded]
    asyncio.run(wait_until(lambda: engine.stats.overdue + engine.stats.cancelled == 2))
    assert engine.stats.ticks <= ticks + 2  # of 2000


def test_deadline_while_the_device_hangs(build_engine: Build, components: Components) -> None:
    gate = Gate(components.unet)
    engine = build_engine()
    with pytest.raises(DeadlineExceeded):
        asyncio.run(respond(engine, make_job(deadline_unix_s=time.time() + 0.2)))
    gate.open()
