"""The end of an engine: its device breaks or hangs, or the replica is stopped."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import torch

from deployments.contracts import Done, Event
from deployments.diffusion.components import Components
from deployments.diffusion.engine import IDLE_HEARTBEAT_S
from deployments.errors import ReplicaUnfit
from tests.deployments.diffusion.conftest import (
    Build,
    draw,
    events_of,
    make_job,
    respond,
    wait_until,
)
from tests.deployments.diffusion.gate import Gate


def test_a_broken_device_ends_every_job_and_the_health(build_engine: Build, components: Components) -> None:
    gate = Gate(components.unet)

    def break_down(*_: Any) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    components.unet.register_forward_pre_hook(break_down)
    engine = build_engine(budget=2 * 16 * 16)

    async def three() -> list[Any]:
        tasks = [asyncio.create_task(respond(engine, make_job())) for _ in range(3)]
        await gate.wait_until_reached()
        gate.open()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(error) for error in asyncio.run(three())] == [ReplicaUnfit] * 3
    with pytest.raises(ReplicaUnfit):
        engine.check_health()
    with pytest.raises(ReplicaUnfit):
        draw(engine, make_job())


def test_a_silent_engine_is_not_healthy(build_engine: Build, components: Components) -> None:
    gate = Gate(components.unet)
    engine = build_engine(heartbeat_timeout_s=0.2)

    async def hang() -> None:
        engine.check_health()
        task = asyncio.create_task(respond(engine, make_job()))
        await gate.wait_until_reached()
        await asyncio.sleep(0.3)
        with pytest.raises(ReplicaUnfit):
            engine.check_health()
        gate.open()
        await task

    asyncio.run(hang())


def test_an_idle_engine_stays_healthy(build_engine: Build) -> None:
    engine = build_engine(heartbeat_timeout_s=2 * IDLE_HEARTBEAT_S)
    draw(engine, make_job())
    time.sleep(3 * IDLE_HEARTBEAT_S)
    engine.check_health()


def test_drain_finishes_what_has_begun_and_refuses_the_rest(build_engine: Build, components: Components) -> None:
    gate = Gate(components.unet)
    engine = build_engine()

    async def drain() -> tuple[list[Event], Any]:
        task = asyncio.create_task(events_of(engine, make_job()))
        await gate.wait_until_reached()
        draining = asyncio.create_task(asyncio.to_thread(engine.close, grace_s=10))
        await asyncio.sleep(0.01)
        refused = await asyncio.gather(respond(engine, make_job()), return_exceptions=True)
        gate.open()
        await draining
        return await task, refused[0]

    events, refused = asyncio.run(drain())
    assert isinstance(events[-1], Done)
    assert isinstance(refused, ReplicaUnfit)


def test_drain_ends_what_takes_longer_than_the_grace(build_engine: Build) -> None:
    engine = build_engine()

    async def drain() -> None:
        task = asyncio.create_task(respond(engine, make_job(steps=1000)))
        await wait_until(lambda: engine.stats.ticks > 0)
        await asyncio.to_thread(engine.close, grace_s=0.1)
        with pytest.raises(ReplicaUnfit):
            await task

    asyncio.run(drain())
