"""The embedded model with the deployments of one_gpu.yaml, on logical GPUs."""

from __future__ import annotations

import asyncio
import base64
import io
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import ray
from PIL import Image
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from tests.pictures import encoded
from tests.test_files import read
from tests.waiting import eventually
from training.pictures import background, nearest_color, object_color, overlap, silhouette
from training.scenes import Scene, render, sample_scene

NAME = "one_gpu"
STEPS = 40
SCALING = {
    "min_replicas": 1,
    "max_replicas": 2,
    "target_ongoing_requests": 4,
    "metrics_interval_s": 0.2,
    "look_back_period_s": 1,
    "upscale_delay_s": 0.5,
}
PERSON = render(sample_scene(np.random.default_rng(2), "person"), 256)
CIRCLE = render(Scene("circle", "red", "white", size=0.35), 256)


@pytest.fixture(scope="module")
def one_gpu(serve_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL; AllTasks scales from one GPU to a second within seconds."""
    [application] = read("one_gpu.yaml")["applications"]
    args = read("demo.yaml")["applications"][0]["args"]
    args["storage"] = {"location": str(tmp_path_factory.mktemp(NAME) / "pictures")}
    application |= {"name": NAME, "route_prefix": f"/{NAME}", "args": args}
    [all_tasks] = [each for each in application["deployments"] if each["name"] == "AllTasks"]
    all_tasks["autoscaling_config"] = SCALING
    schema = ServeDeploySchema.model_validate({"applications": [application]})
    _get_global_client().deploy_apps(schema, _blocking=True)
    yield f"{serve_url}/{NAME}"
    serve.delete(NAME)


async def draw_all_three(url: str, client: httpx.AsyncClient) -> list[np.ndarray]:
    """A picture of each task, ordered at the same time: (256, 256, 3) uint8 each."""
    common = {"size": "256x256", "steps": STEPS, "seed": 5, "response_format": "b64_json"}
    answers = await asyncio.gather(
        client.post(f"{url}/v1/images/generations", json={"prompt": "a red star on a blue background", **common}),
        _edit(client, url, CIRCLE, prompt="a blue circle on a white background", strength=1, **common),
        _edit(client, url, PERSON, prompt="a red person on a yellow background", user="cn", **common),
    )
    pictures = []
    for answer in answers:
        assert answer.status_code == 200, answer.text
        [image] = answer.json()["data"]
        picture = Image.open(io.BytesIO(base64.b64decode(image["b64_json"])))
        pictures.append(np.asarray(picture.convert("RGB")))
    assert "b64_json_pose" in image, "the last one shows its skeleton"
    return pictures


def _edit(client: httpx.AsyncClient, url: str, picture: np.ndarray, **fields: Any) -> Any:
    files = {"image": encoded(Image.fromarray(picture)).getvalue()}
    return client.post(f"{url}/v1/images/edits", data={name: str(value) for name, value in fields.items()}, files=files)


def gauge(name: str) -> float:
    """An engine's gauge that Ray exports, summed over the replicas of AllTasks."""
    text = httpx.get(f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith(f"ray_images_engine_{name}{{")]
    ours = [line for line in lines if re.search(rf'application="{NAME}"', line) and 'deployment="AllTasks"' in line]
    return sum(float(line.split()[-1]) for line in ours)


def test_the_three_tasks_are_drawn_in_the_same_passes(one_gpu: str) -> None:
    async def draw() -> list[np.ndarray]:
        async with httpx.AsyncClient(timeout=120) as client:
            return await draw_all_three(one_gpu, client)

    star, circle, person = asyncio.run(draw())
    assert (nearest_color(object_color(star)), nearest_color(background(star))) == ("red", "blue")
    assert nearest_color(object_color(circle)) == "blue"
    assert nearest_color(background(person)) == "yellow"
    assert overlap(silhouette(PERSON), silhouette(person)) >= 0.6
    eventually(lambda: gauge("finished") >= 3, within_s=60)
    assert gauge("finished") == 3
    assert STEPS <= gauge("ticks") < 1.5 * STEPS, "one after the other they take 3 times as many"


def test_it_scales_to_a_second_gpu_under_load_of_all_tasks(one_gpu: str) -> None:
    async def load() -> None:
        async with httpx.AsyncClient(timeout=120) as client:
            drawing = asyncio.gather(*(draw_all_three(one_gpu, client) for _ in range(8)))
            deadline_s = time.monotonic() + 60
            while _running() != 2:
                assert time.monotonic() < deadline_s
                await asyncio.sleep(0.2)
            await drawing

    assert _running() == 1
    asyncio.run(load())


def _running() -> int:
    running: int = serve.status().applications[NAME].deployments["AllTasks"].replica_states.get("RUNNING", 0)
    return running
