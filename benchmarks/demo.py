"""demo.yaml with an engine for each task, and with one or two that draw all: what a newcomer waits for, and its memory.

python -m benchmarks.demo [--rounds 3] [--pictures 18] [--clients 9] [--systems one two]

All draw pictures as demo.yaml does where a request says nothing of size and steps. They take turns in every round, and
each runs in its turn alone, started by the launcher and stopped after.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import httpx
import psutil
import yaml

from benchmarks.embedded import PROMPT
from benchmarks.report import report

PORT = 8104
START_TIMEOUT_S = 300
PERSON = Path(__file__).parent.parent / "docs" / "person.png"
SYSTEMS = {"three": (False, 1), "one": (True, 1), "two": (True, 2)}
"""Numbers of engines: `share_engine`, and the replicas of a deployment. The last is demo.yaml as it is."""


class Service(NamedTuple):
    """A running service."""

    process: psutil.Process
    """The launcher."""
    client: httpx.AsyncClient
    ready_s: float
    """From the start of the launcher to `Ready`."""

    def memory_mb(self) -> float:
        """Memory of the launcher and all that it started; a page that several share counts once in the sum."""
        bytes_used = 0
        for process in [self.process, *self.process.children(recursive=True)]:
            with suppress(psutil.Error):
                bytes_used += process.memory_full_info().pss
        return bytes_used / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=18)
    parser.add_argument("--clients", type=int, default=9)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=[*SYSTEMS], help="two or more")
    options = parser.parse_args()
    asyncio.run(_compare(options.systems, options.rounds, options.pictures, options.clients))


async def _compare(systems: list[str], rounds: int, pictures: int, clients: int) -> None:
    measured: dict[str, defaultdict[str, list[float]]] = {name: defaultdict(list) for name in systems}
    for _ in range(rounds):
        for name in systems:
            share_engine, replicas = SYSTEMS[name]
            async with _service(share_engine, replicas) as service:
                for what, value in (await _measure(service, pictures, clients)).items():
                    measured[name][what].append(value)
    rows = [
        {"engines": name} | {what: statistics.median(values) for what, values in of_system.items()}
        for name, of_system in measured.items()
    ]
    first, *others = measured
    notes: dict[str, object] = {"pictures": pictures, "clients": clients}
    for name in others:
        notes[f"{name} / {first}, by round"] = {
            what: [round(its / firsts, 2) for its, firsts in zip(values, measured[first][what], strict=True)]
            for what, values in measured[name].items()
        }
    report("demo", rows, notes)


async def _measure(service: Service, pictures: int, clients: int) -> dict[str, float]:
    seeds = itertools.count()
    draws = [partial(draw, service.client) for draw in (_text, _edit, _pose)]
    measured = {"ready, s": service.ready_s}
    for what, draw in zip(("text", "edit", "pose"), draws, strict=True):
        await draw(next(seeds))
        measured[f"one client, {what}, s"] = statistics.median(
            [await _seconds(draw(next(seeds))) for _ in range(max(1, pictures // 4))]
        )
    measured["text, pictures/s"] = await _rate(iter([draws[0]] * pictures), seeds, clients)
    measured["mixed, pictures/s"] = await _rate(itertools.islice(itertools.cycle(draws), pictures), seeds, clients)
    measured["memory, MB"] = service.memory_mb()
    return measured


async def _rate(draws: Iterator[Callable[[int], Awaitable[None]]], seeds: Iterator[int], clients: int) -> float:
    """Pictures/s of clients in a closed loop."""
    count = 0

    async def client() -> None:
        nonlocal count
        for draw in draws:
            await draw(next(seeds))
            count += 1

    seconds = await _seconds(asyncio.gather(*(client() for _ in range(clients))))
    return count / seconds


async def _seconds(work: Awaitable[object]) -> float:
    started_s = time.monotonic()
    await work
    return time.monotonic() - started_s


async def _text(client: httpx.AsyncClient, seed: int) -> None:
    await _order(client.post("/v1/images/generations", json={"prompt": PROMPT, "seed": seed}))


async def _edit(client: httpx.AsyncClient, seed: int, **fields: str) -> None:
    data = {"prompt": PROMPT, "seed": str(seed), **fields}
    await _order(client.post("/v1/images/edits", data=data, files={"image": PERSON.read_bytes()}))


async def _pose(client: httpx.AsyncClient, seed: int) -> None:
    await _edit(client, seed, user="cn")


async def _order(answer: Awaitable[httpx.Response]) -> None:
    drawn = await answer
    assert drawn.is_success, drawn.text
    assert len(drawn.json()["data"]) == 1


@asynccontextmanager
async def _service(share_engine: bool, replicas: int) -> AsyncIterator[Service]:
    """demo.yaml's service on a port of its own, from its start until all its processes have ended."""
    with tempfile.TemporaryDirectory() as folder:
        started_s = time.monotonic()
        process = _start(Path(folder), share_engine, replicas)
        try:
            while "\nReady: " not in (said := _said(Path(folder))):
                if process.poll() is not None or time.monotonic() > started_s + START_TIMEOUT_S:
                    raise RuntimeError(f"the service did not start; it said:\n{said[-2000:]}")
                await asyncio.sleep(0.1)
            ready_s = time.monotonic() - started_s
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{PORT}", timeout=600) as client:
                yield Service(process, client, ready_s)
        finally:
            process.terminate()
            process.wait(START_TIMEOUT_S)


def _start(folder: Path, share_engine: bool, replicas: int) -> psutil.Popen:
    config = yaml.safe_load(Path("demo.yaml").read_text())
    config["http_options"]["port"] = PORT
    [application] = config["applications"]
    scaling = {"min_replicas": replicas, "max_replicas": replicas}
    application["deployments"] = [{"name": "AllTasks", "autoscaling_config": scaling}] if share_engine else []
    args = application["args"]
    args["models"][0]["share_engine"] = share_engine
    args["storage"] = {"location": str(folder / "pictures")}
    file = folder / "demo.yaml"
    file.write_text(yaml.safe_dump(config))
    with (folder / "log").open("wb") as log:
        return psutil.Popen([sys.executable, "-m", "serve_app.launch", str(file)], stdout=log, stderr=log)


def _said(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")


if __name__ == "__main__":
    main()
