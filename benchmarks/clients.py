"""Clients of a system: how they order their pictures, and what they see of it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from benchmarks.engine_mixed import Arrival, replay
from benchmarks.figures import Figures
from benchmarks.workload import Picture, Workload

CLIENTS = 8  # as many as a peer's batch holds

Draw: TypeAlias = Callable[[int, int, int], Awaitable[None]]
"""(edge_px, steps, seed) → a picture."""


async def load(figures: Figures, draw: Draw, workload: Workload, trace: list[Arrival]) -> None:
    """What every system is measured by."""
    few = max(1, workload.pictures // 4)
    figures.one_client.append(await closed_loop(draw, workload.uniform, 1, few))
    figures.eight_clients.append(await closed_loop(draw, workload.uniform, CLIENTS, workload.pictures))
    figures.mixed.append(await _mixed(draw, trace))
    figures.waits += await replay(trace, partial(_arrive, draw))


async def closed_loop(draw: Draw, picture: Picture, clients: int, pictures: int) -> float:
    """Pictures a second of clients that each order the next picture when they have theirs.

    Counted from when there have been as many pictures as clients, so that the rush at the start is no part of it.
    """
    done_s: list[float] = []
    seeds = itertools.count()

    async def client() -> None:
        while len(done_s) < clients + pictures:
            await draw(*picture, next(seeds))
            done_s.append(time.monotonic())

    await asyncio.gather(*(client() for _ in range(clients)))
    return pictures / (done_s[clients + pictures - 1] - done_s[clients - 1])


async def _mixed(draw: Draw, trace: list[Arrival]) -> float:
    """Pictures a second of clients that share the trace's jobs, whenever these would arrive, until all are drawn."""
    left = iter(trace)

    async def client() -> None:
        for arrival in left:
            await _arrive(draw, arrival)

    started_s = time.monotonic()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return len(trace) / (time.monotonic() - started_s)


async def _arrive(draw: Draw, arrival: Arrival) -> None:
    await draw(arrival.edge_px, arrival.steps, arrival.seed)


async def one_picture(draw: Draw, picture: Picture) -> float:
    """Its seconds."""
    started_s = time.monotonic()
    await draw(*picture, 0)
    return time.monotonic() - started_s
