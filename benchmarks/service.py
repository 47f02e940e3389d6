"""The service over HTTP: against the engine alone, a plain Ray Serve app and LitServe.

python -m benchmarks.service [--rounds 3] [--pictures 24] [--clients 48] [--litserve-python PATH]

Saturated: clients in a closed loop, pictures as demo.yaml draws them where a request says nothing. One client: one
small picture after the other. Mixed: 4 and 30 steps, open loop, Poisson arrivals at a share of what a plain diffusers
pipeline can do. The systems take turns in every round; a server runs in its turn alone, as its users would run it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

import httpx

from benchmarks.embedded import CHECKPOINT, ENGINE, make_job, run_as_the_service_does
from benchmarks.engine_mixed import STEPS, Arrival, make_trace, replay, seconds_per_job
from benchmarks.report import percentile, report
from benchmarks.servers import Server, servers
from deployments.contracts import Done
from deployments.diffusion.engine import DiffusionEngine

UNIFORM = (512, 12)  # edge_px and steps that demo.yaml draws where a request says nothing of them
SMALL = (256, 6)

Draw: TypeAlias = Callable[[int, int, int], Awaitable[None]]
"""(edge_px, steps, seed) → a picture."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=24)
    # Three passes' worth: with one, all pictures end together and the engine idles while they travel.
    parser.add_argument("--clients", type=int, default=48)
    parser.add_argument("--load", type=float, default=0.7)
    parser.add_argument("--litserve-python", help="a Python that can import litserve and this project")
    options = parser.parse_args()
    run_as_the_service_does()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measure(options, servers(folder, options.litserve_python)))


async def _measure(options: argparse.Namespace, measured: list[Server]) -> None:
    engine = DiffusionEngine(CHECKPOINT, ENGINE)
    encode_s: list[float] = []

    async def with_engine(edge_px: int, steps: int, seed: int) -> None:
        async for event in engine.submit(make_job(edge_px, steps, seed)):
            if isinstance(event, Done):
                encode_s.append(event.response.stages_s["encode"])

    names = ["engine alone", *(server.name for server in measured)]
    rates: dict[str, list[float]] = {name: [] for name in names}
    single: dict[str, list[float]] = {name: [] for name in names}
    mixed: dict[str, list[tuple[int, float]]] = {name: [] for name in names}
    over_s: list[float] = []
    cpu_s: defaultdict[str, float] = defaultdict(float)
    per_job_s = await asyncio.to_thread(seconds_per_job, engine._components)

    async def load(name: str, draw: Draw) -> None:
        rates[name].append(await _saturate(draw, options.clients, options.pictures))
        mixed[name] += await replay(trace, partial(_arrive, draw))

    for round_index in range(options.rounds):
        trace = make_trace(options.pictures, options.load / per_job_s, seed=round_index)
        await load("engine alone", with_engine)
        for server in measured:
            async with server, httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=None)) as client:
                draw = partial(server.draw, client)
                for _ in range(options.pictures // 2):
                    single["engine alone"].append(own_s := await _one(with_engine))
                    single[server.name].append(its_s := await _one(draw))
                    if server is measured[0]:
                        over_s.append(its_s - own_s)
                before = server.cpu_s()
                await load(server.name, draw)
                if server is measured[0]:
                    for process, seconds in server.cpu_s().items():
                        cpu_s[process] += seconds - before.get(process, 0)
            if server is measured[0]:  # the machine's speed drifts: the engine alone before the service, and after it
                rates["engine alone"].append(await _saturate(with_engine, options.clients, options.pictures))
    engine.close()

    alone = rates["engine alone"]
    shares = [
        2 * its / (before + after) for before, after, its in zip(alone[::2], alone[1::2], rates["service"], strict=True)
    ]
    rows = []
    for name in names:
        short = [seconds for steps, seconds in mixed[name] if steps == min(STEPS)]
        everyone = [seconds for _, seconds in mixed[name]]
        rows.append(
            {
                "system": name,
                "uniform: pictures/s": statistics.median(rates[name]),
                "one client: p50 s": statistics.median(single[name]),
                "mixed: p95 s": percentile(everyone, 95),
                "mixed: mean s": statistics.mean(everyone),
                "mixed: p95 s of short": percentile(short, 95),
            }
        )
    notes = {
        "service / engine alone, pictures/s": statistics.median(shares),
        "the same, by round": [round(share, 3) for share in shares],
        "service - engine alone, one client, p50 ms": 1000 * statistics.median(over_s),
        "PNG encoding in both, p50 ms": 1000 * statistics.median(encode_s),
        "CPU ms a picture by the service's processes": {
            name: round(1000 * seconds / 2 / options.pictures / options.rounds, 1)
            for name, seconds in sorted(cpu_s.items(), key=lambda item: -item[1])[:6]
        },
        "clients": options.clients,
        "load": options.load,
        "rounds": options.rounds,
    }
    report("service", rows, notes)


async def _arrive(draw: Draw, arrival: Arrival) -> None:
    await draw(arrival.edge_px, arrival.steps, arrival.seed)


async def _saturate(draw: Draw, clients: int, pictures: int) -> float:
    """Pictures a second of clients that each order the next picture when they have theirs.

    Counted from when there have been as many pictures as clients, so that the rush at the start is no part of it.
    """
    done_s: list[float] = []
    seeds = itertools.count()

    async def client() -> None:
        while len(done_s) < clients + pictures:
            await draw(*UNIFORM, next(seeds))
            done_s.append(time.monotonic())

    await asyncio.gather(*(client() for _ in range(clients)))
    return pictures / (done_s[clients + pictures - 1] - done_s[clients - 1])


async def _one(draw: Draw) -> float:
    started_s = time.monotonic()
    await draw(*SMALL, 0)
    return time.monotonic() - started_s


if __name__ == "__main__":
    main()
