"""What the service says about its models, and to web pages of other origins."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import openai

from deployments.schedulers import SCHEDULERS
from tests.conftest import Deploy, fake_config

GENERATIONS = "/v1/images/generations"


def capabilities(http: httpx.Client, name: str) -> dict[str, Any]:
    found: dict[str, Any] = http.get(f"/v1/models/{name}").json()["capabilities"]
    return found


def test_a_model_says_what_it_can_do(http: httpx.Client) -> None:
    can = capabilities(http, "gpt-image-1")
    assert can["tasks"] == ["generation", "variation", "edit", "pose"]
    assert can["sizes"] == ["256x256", "512x512", "1024x1024", "1536x1024"]
    assert can["default_size"] == "256x256"
    assert can["qualities"]["high"] == {"steps": 8, "guidance_scale": 5.0, "scheduler": "euler"}
    assert can["default_quality"] == "auto"
    assert can["styles"] == ["vivid", "natural"]
    assert can["input_fidelities"] == ["high", "low"]
    assert can["schedulers"] == list(SCHEDULERS)
    assert can["output_formats"] == ["png", "jpeg", "webp"]
    assert (can["response_format"], can["n_means"]) == ("b64_json", "count")
    assert can["masks"] is can["previews"] is True
    assert can["limits"]["n"] == 10
    assert can["limits"]["body_bytes"] == 2_000_000


def test_a_name_for_poses_has_neither_edits_nor_masks(http: httpx.Client) -> None:
    can = capabilities(http, "fake-pose")
    assert can["tasks"] == ["generation", "variation", "pose"]
    assert can["masks"] is False


def test_every_size_and_quality_that_a_model_names_can_be_drawn(http: httpx.Client) -> None:
    can = capabilities(http, "gpt-image-1")
    for size in can["sizes"]:
        for quality in can["qualities"]:
            body = {"model": "gpt-image-1", "prompt": "x", "size": size, "quality": quality}
            assert http.post(GENERATIONS, json=body).status_code == 200


def test_the_sdk_reads_models(fake: openai.OpenAI) -> None:
    listed = list(fake.models.list())
    assert listed[0].id == "be-fake"
    assert "capabilities" not in listed[0].to_dict()
    assert fake.models.retrieve("dall-e-2").object == "model"


def test_pages_of_configured_origins_may_call(deploy: Deploy, tmp_path: Path) -> None:
    url = deploy("cors", fake_config(tmp_path, access={"cors_origins": ["https://page.example"]})) + GENERATIONS
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    allowed = httpx.options(url, headers={"Origin": "https://page.example", **ask})
    assert allowed.is_success
    assert allowed.headers["access-control-allow-origin"] == "https://page.example"
    answer = httpx.post(url, json={"prompt": "x"}, headers={"Origin": "https://page.example"})
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    refused = httpx.options(url, headers={"Origin": "https://other.example", **ask})
    assert "access-control-allow-origin" not in refused.headers


def test_the_sdk_waits_and_tries_again_when_the_queue_is_full(deploy: Deploy, tmp_path: Path) -> None:
    url = deploy("busy", fake_config(tmp_path, limits={"retry_after_s": 1, "request_timeout_s": 60}))

    async def flood() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="unused", max_retries=20) as client:
            return await asyncio.gather(
                *(client.images.generate(model="dall-e-2", prompt="sleep=0.5") for _ in range(130))
            )

    assert len(asyncio.run(flood())) == 130
