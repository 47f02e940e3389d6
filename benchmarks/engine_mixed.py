"""Mixed steps and sizes, open loop, Poisson arrivals: the engine against one at a time and against static batches.

python -m benchmarks.engine_mixed [--load 0.8] [--jobs 40] [--rounds 3]

All three meet the same jobs at the same moments in each round. The load is a share of what diffusers' pipeline can do
one picture at a time, measured before each round.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

from benchmarks.embedded import CHECKPOINT, draw_with_diffusers, engine_over, make_job, run_as_the_service_does
from benchmarks.report import percentile, report
from deployments.diffusion.components import Components, load_components

STEPS = (4, 30)
SIZES = (256, 512)
MAX_BATCH, BATCH_WAIT_S = 8, 0.01


class Arrival(NamedTuple):
    """A job of the trace."""

    at_s: float
    steps: int
    edge_px: int
    seed: int


class OneAtATime:
    """diffusers' pipeline behind a queue."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._free = asyncio.Lock()

    async def draw(self, arrival: Arrival) -> None:
        async with self._free:
            await asyncio.to_thread(
                draw_with_diffusers, self._components, arrival.edge_px, arrival.steps, [arrival.seed]
            )


class StaticBatches:
    """Batches in the style of `@serve.batch`: all that waits when the pipeline is free; all answers come at its end.

    A pipeline's call has one size and one number of steps, so a batch takes a call for each kind in it.
    """

    def __init__(self, draw: Callable[[int, int, list[int]], object]) -> None:
        """`draw` makes the pictures of a batch: (edge_px, steps, seeds)."""
        self._draw = draw
        self._waiting: list[tuple[Arrival, asyncio.Future[None]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def draw(self, arrival: Arrival) -> None:
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((arrival, done))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        await done

    async def _work(self) -> None:
        while self._waiting:
            await asyncio.sleep(BATCH_WAIT_S)
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            for steps, edge_px in dict.fromkeys((arrival.steps, arrival.edge_px) for arrival, _ in batch):
                seeds = [each.seed for each, _ in batch if (each.steps, each.edge_px) == (steps, edge_px)]
                await asyncio.to_thread(self._draw, edge_px, steps, seeds)
            for _, done in batch:
                done.set_result(None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--load", type=float, default=0.8)
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    run_as_the_service_does()

    components = load_components(CHECKPOINT)
    engine = engine_over(components)

    async def with_engine(arrival: Arrival) -> None:
        async for _ in engine.submit(make_job(arrival.edge_px, arrival.steps, arrival.seed)):
            pass

    waits: dict[str, list[tuple[int, float]]] = {"engine": [], "one at a time": [], "static batches": []}
    seconds_per_job(components)  # warms up
    for round_index in range(options.rounds):
        trace = make_trace(options.jobs, options.load / seconds_per_job(components), seed=round_index)
        for name in waits:
            draw = {
                "engine": with_engine,
                "one at a time": OneAtATime(components).draw,
                "static batches": StaticBatches(partial(draw_with_diffusers, components)).draw,
            }[name]
            waits[name] += asyncio.run(replay(trace, draw))
    engine.close()

    figures = {name: _figures(measured) for name, measured in waits.items()}
    rows = [{"system": name, **figures[name]} for name in figures]
    notes = {
        f"engine / better of the others, {figure}": own
        / min(figures[name][figure] for name in figures if name != "engine")
        for figure, own in figures["engine"].items()
    }
    report("engine_mixed", rows, {"load": options.load, "jobs": options.jobs * options.rounds, **notes})


def _figures(measured: list[tuple[int, float]]) -> dict[str, float]:
    short = [seconds for steps, seconds in measured if steps == min(STEPS)]
    everyone = [seconds for _, seconds in measured]
    return {
        "short jobs: p50 s": statistics.median(short),
        "short jobs: p95 s": percentile(short, 95),
        "all: mean s": statistics.mean(everyone),
        "all: p95 s": percentile(everyone, 95),
    }


def seconds_per_job(components: Components, steps: Sequence[int] = STEPS, sizes_px: Sequence[int] = SIZES) -> float:
    kinds = list(itertools.product(steps, sizes_px))
    started_s = time.monotonic()
    for count, edge_px in kinds:
        draw_with_diffusers(components, edge_px, count, [0])
    return (time.monotonic() - started_s) / len(kinds)


def make_trace(
    jobs: int, jobs_per_s: float, seed: int, steps: Sequence[int] = STEPS, sizes_px: Sequence[int] = SIZES
) -> list[Arrival]:
    chance = random.Random(seed)
    at_s, trace = 0.0, []
    for number in range(jobs):
        trace.append(Arrival(at_s, chance.choice(steps), chance.choice(sizes_px), number))
        at_s += chance.expovariate(jobs_per_s)
    return trace


async def replay(trace: list[Arrival], draw: Callable[[Arrival], Awaitable[None]]) -> list[tuple[int, float]]:
    """Steps and seconds from arrival to picture, for each job."""
    started_s = time.monotonic()

    async def one(arrival: Arrival) -> tuple[int, float]:
        await asyncio.sleep(started_s + arrival.at_s - time.monotonic())
        await draw(arrival)
        return arrival.steps, time.monotonic() - started_s - arrival.at_s

    return list(await asyncio.gather(*(one(arrival) for arrival in trace)))


if __name__ == "__main__":
    main()
