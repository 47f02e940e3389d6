"""Each GPU deployment scales by itself, on logical GPUs."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageDraw
from ray import serve

from tests.conftest import deploy_as_file, fake_config

PIPELINES = ("TextToImage", "ImageEdit", "PoseControl")
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "TextToImage": ("/v1/images/generations", {}),
    "ImageEdit": ("/v1/images/edits", {}),
    "PoseControl": ("/v1/images/edits", {"user": "cn"}),
}


def replicas() -> dict[str, int]:
    deployments = serve.status().applications["scaled"].deployments
    return {name: deployments[name].replica_states.get("RUNNING", 0) for name in PIPELINES}


def wait_until(expected: dict[str, int]) -> None:
    deadline_s = time.monotonic() + 60
    while (now := replicas()) != expected:
        assert time.monotonic() < deadline_s, f"{now} did not become {expected}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def scaled_url(serve_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service whose pipelines scale from 1 to 2 GPUs within seconds."""
    scaling = {
        "min_replicas": 1,
        "max_replicas": 2,
        "target_ongoing_requests": 2,
        "metrics_interval_s": 0.2,
        "look_back_period_s": 1,
        "upscale_delay_s": 0.5,
        "downscale_delay_s": 1,
    }
    pipelines = [
        {"name": name, "ray_actor_options": {"num_gpus": 1}, "autoscaling_config": scaling} for name in PIPELINES
    ]
    deploy_as_file("scaled", fake_config(tmp_path_factory.mktemp("scaled")), pipelines)
    wait_until(dict.fromkeys(PIPELINES, 1))
    yield f"{serve_url}/scaled"
    serve.delete("scaled")


@pytest.mark.parametrize("name", PIPELINES)
def test_a_pipeline_scales_up_under_load_and_back_while_the_others_stay(scaled_url: str, name: str) -> None:
    route, fields = REQUESTS[name]
    body = {"model": "dall-e-2", "prompt": "sleep=5", **fields}

    async def load() -> list[int]:
        async with httpx.AsyncClient(timeout=60) as client:
            if route.endswith("edits"):
                requests = [client.post(scaled_url + route, data=body, files={"image": _person()}) for _ in range(8)]
            else:
                requests = [client.post(scaled_url + route, json=body) for _ in range(8)]
            working = asyncio.gather(*requests)
            await asyncio.to_thread(wait_until, {**dict.fromkeys(PIPELINES, 1), name: 2})
            return [answer.status_code for answer in await working]

    assert asyncio.run(load()) == [200] * 8
    wait_until(dict.fromkeys(PIPELINES, 1))


def test_a_pipeline_that_wakes_up_from_zero_replicas_is_well(serve_url: str, tmp_path: Path) -> None:
    scaling = {"min_replicas": 0, "initial_replicas": 0, "max_replicas": 1, "metrics_interval_s": 0.2}
    config = fake_config(tmp_path, limits={"request_timeout_s": 60})
    deploy_as_file("asleep", config, [{"name": "TextToImage", "autoscaling_config": {**scaling, "upscale_delay_s": 0}}])
    seen, answers = set(), set()
    try:
        url = f"{serve_url}/asleep"
        assert httpx.get(f"{url}/healthz").status_code == 200
        with ThreadPoolExecutor(1) as pool:
            drawn = pool.submit(httpx.post, f"{url}/v1/images/generations", json={"prompt": "x"}, timeout=60)
            while not drawn.done():
                state = serve.status().applications["asleep"].deployments["TextToImage"]
                seen.add((state.status.value, state.replica_states.get("RUNNING", 0)))
                answers.add(httpx.get(f"{url}/healthz").text)
                time.sleep(0.1)
        assert drawn.result().status_code == 200
    finally:
        serve.delete("asleep")
    assert ("UPSCALING", 0) in seen
    assert answers == {'{"status":"ok"}'}


def _person() -> bytes:
    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).ellipse((20, 20, 40, 60), "black")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
