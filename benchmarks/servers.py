"""The service and its peers as processes, each with the machine to itself, and one client for all of them."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import yaml

from benchmarks.embedded import GUIDANCE_SCALE, PROMPT, SCHEDULER, users_environment
from benchmarks.workload import Workload

START_TIMEOUT_S = 300

ENVIRONMENTS: dict[str, Callable[[], dict[str, str]]] = {
    "own": users_environment,
    "service": lambda: dict(os.environ),  # `run_as_the_service_does` has set them for this process
}
"""What a peer runs under: its own defaults, as in a user's shell, or the service's variables."""


class Server:
    """An HTTP server that draws a checkpoint's pictures; runs inside `async with`."""

    def __init__(
        self, name: str, command: list[str], port: int, environment: dict[str, str], ours: bool = False
    ) -> None:
        self.name = name
        self.drawn = 0
        """Pictures since it is ready."""
        self._command, self._environment, self._ours = command, environment, ours
        self._url = f"http://127.0.0.1:{port}"

    async def __aenter__(self) -> Self:
        """Starts it, and returns when it has drawn a picture."""
        self._start()
        deadline_s = time.monotonic() + START_TIMEOUT_S
        async with httpx.AsyncClient(timeout=60) as client:
            while True:
                try:
                    await self.draw(client, 256, 1, 0)
                    self.drawn = 0
                    return self
                except (httpx.HTTPError, AssertionError, KeyError) as error:
                    if self._process.poll() is not None or time.monotonic() > deadline_s:
                        self._stop()
                        raise RuntimeError(f"{self.name} did not start; it said:\n{self._said()}") from error
                await asyncio.sleep(1)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self._stop)

    async def draw(self, client: httpx.AsyncClient, edge_px: int, steps: int, seed: int) -> None:
        """Orders one picture and checks that a PNG comes."""
        if self._ours:
            order: dict[str, Any] = {"model": "benchmark", "prompt": PROMPT, "response_format": "b64_json"}
            order |= {"size": f"{edge_px}x{edge_px}", "seed": seed, "steps": steps}
            order |= {"guidance_scale": GUIDANCE_SCALE, "scheduler": SCHEDULER}
            answer = await client.post(f"{self._url}/v1/images/generations", json=order)
            answer.raise_for_status()
            picture = base64.b64decode(answer.json()["data"][0]["b64_json"])
        else:
            answer = await client.post(f"{self._url}/draw", json={"steps": steps, "size": edge_px, "seed": seed})
            answer.raise_for_status()
            picture = answer.content
        assert picture.startswith(b"\x89PNG"), "no picture"
        self.drawn += 1

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far of its processes, by what they are called."""
        seconds: defaultdict[str, float] = defaultdict(float)
        for process in [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children(recursive=True)]:
            with suppress(psutil.Error):
                times, name = process.cpu_times(), process.cmdline()[0].split("/")[-1]
                seconds[name] += times.user + times.system
        return seconds

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-2000:]

    def _start(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the server runs)
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=self._log, stderr=self._log, start_new_session=True
        )

    def _stop(self) -> None:
        """Ends the server and what it started."""
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def servers(
    folder: Path, workload: Workload, environments: Sequence[str], litserve_python: str | None = None
) -> list[Server]:
    """The service with the workload's checkpoint, and its peers under each of `environments`.

    LitServe is among them where a Python has it. `folder` is for the service's configuration and pictures.
    """
    command = [sys.executable, "-m", "serve_app.launch", str(_service_file(folder, workload))]
    found = [Server("service", command, 8101, users_environment(), ours=True)]
    peers = [("plain Ray Serve", sys.executable, "serve_batch", 8102)]
    if litserve_python:
        peers.append(("LitServe", litserve_python, "lit_serve", 8103))
    for name, python, module, port in peers:
        command = [python, "-m", f"benchmarks.peers.{module}", str(port), workload.checkpoint.path]
        found += [Server(f"{name}, {each} environment", command, port, ENVIRONMENTS[each]()) for each in environments]
    return found


def _service_file(folder: Path, workload: Workload) -> Path:
    """demo.yaml's model with the workload's checkpoint and sizes, which are drawn as they are, as the peers do."""
    config = yaml.safe_load(Path("demo.yaml").read_text())
    config["http_options"]["port"] = 8101
    model = config["applications"][0]["args"]["models"][0]
    model["checkpoint"] = workload.checkpoint.model_dump(exclude_unset=True)
    model["names"] = {"benchmark": {}}
    edges_px = {workload.uniform[0], workload.small[0], *workload.sizes_px}
    model["sizes"] = {f"{edge_px}x{edge_px}": f"{edge_px}x{edge_px}" for edge_px in sorted(edges_px)}
    model["default_size"] = next(iter(model["sizes"]))
    config["applications"][0]["args"].setdefault("storage", {})["location"] = f"{folder}/pictures"
    (file := folder / "benchmark.yaml").write_text(yaml.safe_dump(config))
    return file
