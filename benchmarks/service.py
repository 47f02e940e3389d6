"""The service over HTTP: against the engine alone, a plain Ray Serve app and LitServe.

python -m benchmarks.service [--checkpoint embedded|tiny] [--rounds 2] [--litserve-python PATH]

Uniform: one client and eight, each of which orders the next picture when it has its last. Mixed: few and many steps,
two sizes; pictures a second with eight clients, and waiting times in an open loop, Poisson arrivals at a share of what
a plain diffusers pipeline can do. The service and the engine alone are also measured saturated and, in turns, with one
client and small pictures. The systems take turns in every round; a server runs in its turn alone, as its users would
run it: the service as `scripts/serve` starts it; each peer under its own defaults, which is the environment of this
command's shell, and once more under the service's variables.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from collections import defaultdict
from functools import partial
from pathlib import Path

import httpx

from benchmarks.clients import closed_loop, load, one_picture
from benchmarks.embedded import ENGINE, make_job, run_as_the_service_does
from benchmarks.engine_mixed import make_trace, seconds_per_job
from benchmarks.figures import Figures, compare
from benchmarks.report import report
from benchmarks.servers import ENVIRONMENTS, Server, servers
from benchmarks.workload import WORKLOADS, Workload
from deployments.contracts import Done
from deployments.diffusion.engine import DiffusionEngine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", choices=WORKLOADS, default="embedded")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--pictures", type=int, help="of each measurement; by default, what suits the checkpoint")
    parser.add_argument("--clients", type=int, help="that saturate the service; by default, what suits the checkpoint")
    parser.add_argument("--load", type=float, default=0.7)
    parser.add_argument("--environments", nargs="+", choices=ENVIRONMENTS, default=list(ENVIRONMENTS))
    parser.add_argument("--litserve-python", help="a Python that can import litserve and this project")
    options = parser.parse_args()
    run_as_the_service_does()
    with tempfile.TemporaryDirectory() as folder:
        workload = WORKLOADS[options.checkpoint](Path(folder))
        own = {name: getattr(options, name) for name in ("pictures", "clients") if getattr(options, name)}
        workload = workload._replace(**own)
        service, *peers = servers(Path(folder), workload, options.environments, options.litserve_python)
        asyncio.run(_measure(options, workload, service, peers))


async def _measure(options: argparse.Namespace, workload: Workload, service: Server, peers: list[Server]) -> None:
    engine = DiffusionEngine(workload.checkpoint, ENGINE)
    encode_s: list[float] = []

    async def with_engine(edge_px: int, steps: int, seed: int) -> None:
        async for event in engine.submit(make_job(edge_px, steps, seed)):
            if isinstance(event, Done):
                encode_s.append(event.response.stages_s["encode"])

    alone, own = Figures(), Figures()
    others = {peer.name: Figures() for peer in peers}
    cpu_ms: defaultdict[str, list[float]] = defaultdict(list)
    per_job_s = await asyncio.to_thread(seconds_per_job, engine._components, workload.steps, workload.sizes_px)

    for round_index in range(options.rounds):
        jobs_per_s = options.load / per_job_s
        trace = make_trace(workload.pictures, jobs_per_s, round_index, workload.steps, workload.sizes_px)
        await load(alone, with_engine, workload, trace)
        # The machine's speed drifts: the engine alone is saturated before the service, and after it.
        alone.saturated.append(await closed_loop(with_engine, workload.uniform, workload.clients, workload.pictures))
        async with service, _client() as client:
            draw, before = partial(service.draw, client), service.cpu_s()
            for _ in range(workload.pictures // 2):
                alone.small_s.append(await one_picture(with_engine, workload.small))
                own.small_s.append(await one_picture(draw, workload.small))
            own.saturated.append(await closed_loop(draw, workload.uniform, workload.clients, workload.pictures))
            await load(own, draw, workload, trace)
            for process, seconds in service.cpu_s().items():
                cpu_ms[process].append(1000 * (seconds - before.get(process, 0)) / service.drawn)
        alone.saturated.append(await closed_loop(with_engine, workload.uniform, workload.clients, workload.pictures))
        for peer in peers:
            async with peer, _client() as client:
                await load(others[peer.name], partial(peer.draw, client), workload, trace)
    engine.close()

    rates = zip(alone.saturated[::2], alone.saturated[1::2], own.saturated, strict=True)
    shares = [2 * its / (before + after) for before, after, its in rates]
    over_s = [its - alones for its, alones in zip(own.small_s, alone.small_s, strict=True)]
    rows = [figures.row(name) for name, figures in {"engine alone": alone, service.name: own, **others}.items()]
    notes = {
        **compare(rows[1], rows[2:]),
        "service / engine alone, saturated, pictures/s": statistics.median(shares),
        "the same, by round": [round(share, 3) for share in shares],
        "service - engine alone, one client, p50 ms": 1000 * statistics.median(over_s),
        "PNG encoding in both, p50 ms": 1000 * statistics.median(encode_s),
        "CPU ms a picture by the service's processes": {
            name: round(statistics.mean(values), 1)
            for name, values in sorted(cpu_ms.items(), key=lambda item: -statistics.mean(item[1]))[:6]
        },
        "workload": workload._replace(checkpoint=options.checkpoint)._asdict(),
        "load": options.load,
        "rounds": options.rounds,
    }
    report("service" if options.checkpoint == "embedded" else f"service_{options.checkpoint}", rows, notes)


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=None))


if __name__ == "__main__":
    main()
