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
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import yaml

from benchmarks.embedded import GUIDANCE_SCALE, PROMPT, SCHEDULER

START_TIMEOUT_S = 300


class Server:
    """An HTTP server that draws the embedded model's pictures; runs inside `async with`."""

    def __init__(self, name: str, command: list[str], port: int, ours: bool = False) -> None:
        self.name = name
        self._command, self._ours = command, ours
        self._url = f"http://127.0.0.1:{port}"

    async def __aenter__(self) -> Self:
        """Starts it, and returns when it has drawn a picture."""
        self._start()
        deadline_s = time.monotonic() + START_TIMEOUT_S
        async with httpx.AsyncClient(timeout=60) as client:
            while True:
                try:
                    await self.draw(client, 256, 1, 0)
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
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log, start_new_session=True)

    def _stop(self) -> None:
        """Ends the server and what it started."""
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def servers(folder: str, litserve_python: str | None = None) -> list[Server]:
    """The service with the embedded model's first deployment, and its peers; LitServe where a Python has it.

    `folder` is for the service's configuration and pictures.
    """
    config = yaml.safe_load(Path("demo.yaml").read_text())
    config["http_options"]["port"] = 8101
    model = config["applications"][0]["args"]["models"][0]
    model["checkpoint"].pop("controlnet"), model["checkpoint"].pop("pose_estimator")
    model["names"] = {"benchmark": {}}
    model["sizes"] = {"256x256": "256x256", "512x512": "512x512"}  # drawn at their own size, as the peers do
    model["default_size"] = "256x256"
    config["applications"][0]["args"].setdefault("storage", {})["location"] = f"{folder}/pictures"
    (file := Path(folder) / "benchmark.yaml").write_text(yaml.safe_dump(config))
    found = [
        Server("service", [sys.executable, "-m", "serve_app.launch", str(file)], 8101, ours=True),
        _peer("plain Ray Serve", sys.executable, "serve_batch", 8102),
    ]
    return [*found, _peer("LitServe", litserve_python, "lit_serve", 8103)] if litserve_python else found


def _peer(name: str, python: str, module: str, port: int) -> Server:
    return Server(name, [python, "-m", f"benchmarks.peers.{module}", str(port)], port)
