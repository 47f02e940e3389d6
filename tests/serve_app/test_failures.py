"""What happens when something breaks: nothing is lost, nothing hangs, nothing internal is shown."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from ray import serve

from serve_app.errors import ServiceUnavailable
from serve_app.store import Store
from tests.conftest import Deploy, fake_config
from tests.openai_errors import assert_openai_error
from tests.waiting import wait_for

GENERATIONS = "/v1/images/generations"


def generate(http: httpx.Client, prompt: str, **fields: Any) -> httpx.Response:
    return http.post(GENERATIONS, json={"model": "dall-e-2", "prompt": prompt, **fields})


def test_a_failed_job_says_so_and_is_not_worth_a_retry(http: httpx.Client) -> None:
    answer = generate(http, "fail")
    assert_openai_error(answer, 500, "generation_failed")
    assert answer.headers["x-should-retry"] == "false"


def test_an_unexpected_error_shows_the_request_id_and_nothing_internal(http: httpx.Client) -> None:
    for response_format in ("url", "b64_json"):
        answer = generate(http, "bug", response_format=response_format)
        message = assert_openai_error(answer, 500, "internal_error")
        assert answer.headers["x-request-id"] in message
        assert "secret" not in answer.text
        assert answer.headers["x-should-retry"] == "false"


def test_the_request_id_of_the_client_is_kept(http: httpx.Client) -> None:
    answer = http.get("/v1/models/none", headers={"x-request-id": "client-7"})
    assert answer.headers["x-request-id"] == "client-7"


def test_a_replica_that_dies_is_replaced_by_another_and_the_picture_is_the_same(
    http: httpx.Client, tmp_path: Path
) -> None:
    lives = tmp_path / "lives"
    prompt = f"die={lives}"
    lives.write_text("0")
    whole = generate(http, prompt, seed=3, response_format="b64_json").json()["data"]
    for response_format in ("b64_json", "url"):
        lives.write_text("1")
        answer = generate(http, prompt, seed=3, response_format=response_format)
        assert answer.status_code == 200, answer.text
        assert lives.read_text() == "0"
        image = answer.json()["data"][0]
        if response_format == "b64_json":
            assert [image] == whole
        else:
            assert httpx.get(image["url"]).status_code == 200


def test_a_second_death_is_503(http: httpx.Client, tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    lives.write_text("2")
    assert_openai_error(generate(http, f"die={lives}"), 503, "unavailable")
    lives.write_text("0")
    assert generate(http, f"die={lives}").status_code == 200


@pytest.mark.parametrize("response_format", ["url", "b64_json"])
def test_jobs_of_a_replica_whose_device_breaks_are_drawn_by_the_next(
    http: httpx.Client, tmp_path: Path, response_format: str
) -> None:
    lives = tmp_path / "lives"
    lives.write_text("1")
    with ThreadPoolExecutor(3) as pool:
        beside = [pool.submit(generate, http, "sleep=0.7", response_format=response_format) for _ in range(2)]
        answer = generate(http, f"break={lives}", response_format=response_format)
        after = pool.submit(generate, http, "x", response_format=response_format)
        assert answer.status_code == 200, answer.text
        assert [other.result().status_code for other in (*beside, after)] == [200] * 3
    assert lives.read_text() == "0"


def test_a_service_that_stops_finishes_the_jobs_in_hand(deploy: Deploy, tmp_path: Path) -> None:
    mark, count = tmp_path / "mark", tmp_path / "count"
    url = deploy("stopped", fake_config(tmp_path)) + GENERATIONS
    with ThreadPoolExecutor(1) as pool:
        body = {"prompt": f"sleep=4 mark={mark} count={count}", "response_format": "b64_json"}
        running = pool.submit(httpx.post, url, json=body, timeout=30)
        wait_for(mark, "started")
        serve.delete("stopped")  # returns when the replicas have ended
        assert running.result().status_code == 200
    assert mark.read_text() == "done"
    assert count.read_text() == "1"
    assert httpx.post(url, json={"prompt": "x"}).status_code == 404


def test_an_unfit_replica_is_503_after_a_second_try(http: httpx.Client) -> None:
    assert_openai_error(generate(http, "unfit"), 503, "unavailable")


def test_a_job_past_its_deadline_is_504_and_its_work_stops(http: httpx.Client, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    answer = generate(http, f"sleep=60 mark={mark}")
    assert_openai_error(answer, 504, "timeout")
    assert answer.headers["x-should-retry"] == "false"
    wait_for(mark, "cancelled")


@pytest.mark.parametrize("response_format", ["url", "b64_json"])
def test_a_client_that_leaves_cancels_its_job(http: httpx.Client, tmp_path: Path, response_format: str) -> None:
    mark = tmp_path / "mark"
    fields = {"model": "dall-e-2", "prompt": f"sleep=8 mark={mark}", "response_format": response_format}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{http.base_url}{GENERATIONS[1:]}", json=fields, timeout=httpx.Timeout(5, read=0.5))
    wait_for(mark, "cancelled")


def test_a_full_queue_is_429_at_once_and_nothing_accepted_is_lost(deploy: Deploy, tmp_path: Path) -> None:
    """One replica takes 32 jobs and 64 wait; the rest of 150 is turned away while the first still run."""
    url = deploy("flood", fake_config(tmp_path, limits={"request_timeout_s": 60})) + GENERATIONS
    statuses: list[int] = []  # in the order of the answers

    async def ask(client: httpx.AsyncClient) -> None:
        answer = await client.post(url, json={"model": "dall-e-2", "prompt": "sleep=2"})
        statuses.append(answer.status_code)
        if answer.status_code != 200:
            assert_openai_error(answer, 429, "queue_full")
            assert answer.headers["retry-after"] == "5"

    async def flood() -> None:
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=200)) as client:
            await asyncio.gather(*(ask(client) for _ in range(150)))

    asyncio.run(flood())
    assert statuses.count(200) >= 96
    assert statuses.count(429) >= 10
    assert statuses.count(200) + statuses.count(429) == 150
    assert 429 not in statuses[-64:], "a refusal came after jobs that had to wait"


class SilentStorage:
    """A store that never answers."""

    async def get(self, picture_id: str) -> bytes:
        await asyncio.sleep(600)
        return b""


def test_a_store_that_does_not_answer_is_unavailable(serve_url: str) -> None:
    deployment = serve.deployment(SilentStorage, graceful_shutdown_timeout_s=0)
    handle = serve.run(deployment.bind(), name="silent", route_prefix=None)
    try:
        with pytest.raises(ServiceUnavailable, match=r"has not answered for 0\.5 s"):
            asyncio.run(Store(handle, retry_after_s=5, timeout_s=0.5).picture(f"{'0' * 32}.png"))
    finally:
        serve.delete("silent")


def test_the_sdk_reads_code_and_request_id_of_an_error(fake_url: str) -> None:
    client = openai.OpenAI(base_url=f"{fake_url}/v1", api_key="unused", max_retries=0)
    with pytest.raises(openai.InternalServerError) as error:
        client.images.generate(model="dall-e-2", prompt="fail")
    assert error.value.code == "generation_failed"
    assert error.value.request_id
