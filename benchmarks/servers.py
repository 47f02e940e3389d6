"""The service and its peers as processes, and one client for all of them."""

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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from benchmarks.embedded import GUIDANCE_SCALE, PROMPT, SCHEDULER

START_TIMEOUT_S = 300


class Server:
    """A running HTTP server that draws the embedded model's pictures."""

    def __init__(self, name: str, command: list[str], port: int, ours: bool = False) -> None:
        self.name = name
        self._ours = ours
        self._url = f"http://127.0.0.1:{port}"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the server runs)
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, start_new_session=True)

    async def wait_until_ready(self) -> None:
        """Returns when it has drawn a picture."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        async with httpx.AsyncClient(timeout=60) as client:
            while True:
                try:
                    return await self.draw(client, 256, 1, 0)
                except (httpx.HTTPError, AssertionError, KeyError) as error:
                    if self._process.poll() is not None or time.monotonic() > deadline_s:
                        raise RuntimeError(f"{self.name} did not start; it said:\n{self._said()}") from error
                await asyncio.sleep(1)

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

    def stop(self) -> None:
        """Ends the server and what it started."""
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


@contextmanager
def servers(litserve_python: str | None = None) -> Iterator[list[Server]]:
    """Starts the service with the embedded model's first deployment, and its peers; LitServe where a Python has it."""
    with tempfile.TemporaryDirectory() as folder:
        config = yaml.safe_load(Path("demo.yaml").read_text())
        config["http_options"]["port"] = 8101
        model = config["applications"][0]["args"]["models"][0]
        model["checkpoint"].pop("controlnet"), model["checkpoint"].pop("pose_estimator")
        model["names"] = {"benchmark": {}}
        model["sizes"] = {"256x256": "256x256", "512x512": "512x512"}  # drawn at their own size, as the peers do
        model["default_size"] = "256x256"
        config["applications"][0]["args"].setdefault("storage", {})["location"] = f"{folder}/pictures"
        (file := Path(folder) / "benchmark.yaml").write_text(yaml.safe_dump(config))
        running = [Server("service", [sys.executable, "-m", "serve_app.launch", str(file)], 8101, ours=True)]
        try:
            running.append(_peer("plain Ray Serve", sys.executable, "serve_batch", 8102))
            if litserve_python:
                running.append(_peer("LitServe", litserve_python, "lit_serve", 8103))
            yield running
        finally:
            for server in running:
                server.stop()


def _peer(name: str, python: str, module: str, port: int) -> Server:
    return Server(name, [python, "-m", f"benchmarks.peers.{module}", str(port)], port)
