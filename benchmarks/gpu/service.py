"""Stage 9: the service over HTTP, with Ray, on a checkpoint of the same random weights."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import site
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import yaml

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.drawing import GUIDANCE_SCALE, NEGATIVE_PROMPT, PROMPT, closed_loop
from benchmarks.gpu.parts import Part
from deployments.diffusion.acceleration.compilation import load_artifacts

ROOT = Path(__file__).resolve().parent.parent.parent
STOP_S = 20


def checkpoint(bench: Bench) -> dict[str, Any]:
    """Writes the weights, as diffusers lays them out, and frees the device for the service."""
    for file in bench.folders.engine_cache.glob("compiled-*.bin"):
        load_artifacts(file)  # the service's models are others than the engine's, but most of their graphs are the same
    folder = _folder(bench)
    started_s = time.monotonic()
    bench.components.text_to_image.save_pretrained(folder)
    bench.forget_components()
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {"GB": size / 1e9, "s": time.monotonic() - started_s, "free GB": shutil.disk_usage(folder).free / 1e9}


def http(bench: Bench) -> dict[str, Any]:
    """The closed loop of the engine's stage through the service, and one client alone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    file = bench.folders.work / "service.yaml"
    file.write_text(yaml.safe_dump(_config(bench, port)))
    started_s = time.monotonic()
    with _launched(bench, file) as (process, log):
        asyncio.run(_until_ready(process, port, bench.deadline_s - 5))
        ready_s = time.monotonic() - started_s
        try:
            return {"start s": ready_s, **asyncio.run(_measure(bench, port))}
        except httpx.HTTPError as error:
            raise RuntimeError(f"{error}; the service said:\n{log.read_text()[-4000:]}") from error


def _folder(bench: Bench) -> Path:
    return bench.folders.work / "checkpoint"


def _config(bench: Bench, port: int) -> dict[str, Any]:
    """One model, whose tasks share an engine."""
    size = f"{bench.scale.edge_px}x{bench.scale.edge_px}"
    preset = {"steps": bench.scale.steps, "guidance_scale": GUIDANCE_SCALE, "scheduler": "euler"}
    dtype = str(bench.dtype).removeprefix("torch.")
    model: dict[str, Any] = {
        "id": "sdxl",
        "checkpoint": {"path": str(_folder(bench)), "dtype": dtype, "device": bench.device.type},
        "engine": bench.config(compile=True, cache_dir=str(bench.folders.work / "service")).model_dump(
            mode="json", exclude_unset=True
        ),
        "names": {"benchmark": {}},
        "sizes": {size: size},
        "default_size": size,
        "presets": {"smooth": preset},
        "share_engine": True,
    }
    actor = {"num_cpus": 0.2, **({"num_gpus": 1} if bench.on_gpu else {})}
    args = {"models": [model], "storage": {"location": str(bench.folders.work / "pictures")}}
    return {
        "http_options": {"host": "127.0.0.1", "port": port},
        "logging_config": {"enable_access_log": False},
        "applications": [
            {
                "name": "images",
                "route_prefix": "/",
                "import_path": "serve_app.app:build_app",
                "args": args,
                "deployments": [{"name": "AllTasks", "ray_actor_options": actor}],
            }
        ],
    }


@contextmanager
def _launched(bench: Bench, file: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """What `scripts/serve` runs, and what it says. Ray would write to the home."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    home = {"HOME": str(bench.folders.work), "PYTHONUSERBASE": site.getuserbase()}
    log = bench.folders.work / "service.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve_app.launch", str(file)],
            cwd=bench.folders.work,
            env={**os.environ, **home, "PYTHONPATH": path},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            yield process, log
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            (bench.folders.out / "service.log").write_bytes(log.read_bytes()[-200_000:])


async def _until_ready(process: subprocess.Popen[bytes], port: int, deadline_s: float) -> None:
    async with httpx.AsyncClient(timeout=10) as client:
        while True:
            with suppress(httpx.HTTPError):
                if (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200:
                    return
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError("the service did not start; service.log in the run's output says why")
            await asyncio.sleep(0.5)


async def _measure(bench: Bench, port: int) -> dict[str, Any]:
    order = {"model": "benchmark", "prompt": PROMPT, "negative_prompt": NEGATIVE_PROMPT, "response_format": "b64_json"}

    async with httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=None)) as client:

        async def draw_one(seed: int) -> int:
            answer = await client.post(f"http://127.0.0.1:{port}/v1/images/generations", json=order | {"seed": seed})
            answer.raise_for_status()
            return len(base64.b64decode(answer.json()["data"][0]["b64_json"]))

        one = await closed_loop(draw_one, 1, 5 if bench.on_gpu else 2)
        loop = await closed_loop(draw_one, bench.scale.clients, bench.scale.pictures, most_s=30)
    return {**loop._asdict(), "one client p50 s": one.p50_s}


PARTS = (Part(checkpoint, 15), Part(http, 60))
