"""`Idempotency-Key`: a request is drawn once, however often it comes."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest
from ray import serve

from tests.conftest import Deploy, deploy_as_file, fake_config
from tests.openai_errors import assert_openai_error
from tests.pictures import drawing, encoded
from tests.waiting import wait_for

GENERATIONS = "/v1/images/generations"
EDITS = "/v1/images/edits"


@pytest.fixture
def key(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"Idempotency-Key": request.node.name}


def test_a_repeat_gets_the_finished_answer(fake: openai.OpenAI, key: dict[str, str]) -> None:
    first = fake.images.generate(prompt="x", model="dall-e-2", extra_headers=key)
    again = fake.images.with_raw_response.generate(prompt="x", model="dall-e-2", extra_headers=key)
    assert again.parse() == first  # seed, URL and time are the same
    assert again.headers["idempotent-replayed"] == "true"
    other = fake.images.generate(prompt="x", model="dall-e-2", extra_headers={"Idempotency-Key": "another"})
    assert other != first


def test_without_a_key_every_request_is_drawn(fake: openai.OpenAI) -> None:
    assert fake.images.generate(prompt="x", model="dall-e-2") != fake.images.generate(prompt="x", model="dall-e-2")


def test_edits_are_told_apart_by_their_pictures_and_not_by_their_boundaries(
    http: httpx.Client, key: dict[str, str]
) -> None:
    def edit(size: tuple[int, int]) -> httpx.Response:
        files = {"image": encoded(drawing(size=size))}
        return http.post(EDITS, data={"prompt": "x"}, files=files, headers=key)

    first = edit((64, 64))
    assert first.status_code == 200
    assert edit((64, 64)).json() == first.json()
    assert_openai_error(edit((65, 64)), 409, "idempotency_key_reused")


def test_another_request_under_the_same_key_is_a_conflict(http: httpx.Client, key: dict[str, str]) -> None:
    assert http.post(GENERATIONS, json={"prompt": "x"}, headers=key).status_code == 200
    answer = http.post(GENERATIONS, json={"prompt": "y"}, headers=key)
    assert_openai_error(answer, 409, "idempotency_key_reused", "Idempotency-Key")
    assert answer.headers["x-should-retry"] == "false"


def test_one_that_comes_while_the_first_runs_waits_for_it(
    http: httpx.Client, key: dict[str, str], tmp_path: Path
) -> None:
    starts = tmp_path / "starts"
    body = {"prompt": f"sleep=1 count={starts}", "model": "dall-e-2"}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: http.post(GENERATIONS, json=body, headers=key), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.text for answer in answers}) == 1
    assert starts.read_text() == "1"


def test_a_client_that_left_finds_its_picture_when_it_comes_back(
    http: httpx.Client, fake_url: str, key: dict[str, str], tmp_path: Path
) -> None:
    mark, starts = tmp_path / "mark", tmp_path / "starts"
    body = {"prompt": f"sleep=1 mark={mark} count={starts}", "model": "dall-e-2"}
    leave_when(mark, "started", fake_url + GENERATIONS, body, key)
    wait_for(mark, "done")
    answer = http.post(GENERATIONS, json=body, headers=key)
    assert answer.status_code == 200
    assert starts.read_text() == "1"


def leave_when(mark: Path, text: str, url: str, body: dict[str, Any], headers: dict[str, str]) -> None:
    """Sends a request and drops the connection when the engine has written `text`."""
    client = httpx.Client(timeout=30)

    def send() -> None:
        with contextlib.suppress(httpx.HTTPError):
            client.post(url, json=body, headers=headers)

    thread = threading.Thread(target=send)
    thread.start()
    wait_for(mark, text)
    client.close()
    thread.join()


def test_a_failed_request_may_be_tried_again(http: httpx.Client, key: dict[str, str], tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    lives.write_text("2")
    body = {"prompt": f"die={lives}"}
    assert_openai_error(http.post(GENERATIONS, json=body, headers=key), 503)
    assert http.post(GENERATIONS, json=body, headers=key).status_code == 200


def test_a_replica_that_dies_costs_no_second_answer(http: httpx.Client, key: dict[str, str], tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    lives.write_text("1")
    body = {"prompt": f"die={lives}", "model": "dall-e-2"}
    first = http.post(GENERATIONS, json=body, headers=key)
    assert first.status_code == 200
    assert http.post(GENERATIONS, json=body, headers=key).text == first.text


@pytest.mark.parametrize(
    ("headers", "fields"),
    [({"Idempotency-Key": "k" * 256}, {}), ({"Idempotency-Key": "streamed"}, {"stream": True})],
)
def test_keys_that_can_not_be_kept_are_refused(
    http: httpx.Client, headers: dict[str, str], fields: dict[str, Any]
) -> None:
    answer = http.post(GENERATIONS, json={"prompt": "x", **fields}, headers=headers)
    assert_openai_error(answer, 400, "invalid_value", "Idempotency-Key")


def test_a_killed_ingress_replica_is_taken_over_from(deploy: Deploy, tmp_path: Path, key: dict[str, str]) -> None:
    mark = tmp_path / "mark"
    config = fake_config(tmp_path, limits={"request_timeout_s": 60})
    url = deploy("taken-over", config) + GENERATIONS
    body = {"prompt": f"sleep=3 mark={mark}", "model": "dall-e-2", "seed": 4, "response_format": "b64_json"}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx.post, url, json=body, headers=key, timeout=60)
        wait_for(mark, "started")
        kill_replica("taken-over:Ingress")
        answer = httpx.post(url, json=body, headers=key, timeout=60)
        with pytest.raises((httpx.HTTPError, AssertionError)):
            assert first.result().status_code == 200
    while answer.status_code == 503:  # until Serve has started another ingress
        time.sleep(0.5)
        answer = httpx.post(url, json=body, headers=key, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"][0]["seed"] == 4
    assert httpx.post(url, json=body, headers=key).headers["idempotent-replayed"] == "true"


def test_two_ingress_replicas_draw_once(serve_url: str, tmp_path: Path, key: dict[str, str]) -> None:
    starts = tmp_path / "starts"
    deploy_as_file("two", fake_config(tmp_path), [{"name": "Ingress", "num_replicas": 2, "autoscaling_config": None}])
    try:
        assert len(replicas("two:Ingress")) == 2
        body = {"prompt": f"sleep=1 count={starts}", "model": "dall-e-2"}
        with ThreadPoolExecutor(12) as pool:
            url = f"{serve_url}/two{GENERATIONS}"
            answers = list(pool.map(lambda _: httpx.post(url, json=body, headers=key, timeout=60), range(12)))
    finally:
        serve.delete("two")
    assert [answer.status_code for answer in answers] == [200] * 12
    assert len({answer.text for answer in answers}) == 1
    assert starts.read_text() == "1"


def replicas(deployment: str) -> list[psutil.Process]:
    """The replicas of a deployment of this test session's Ray."""
    return [p for p in psutil.Process().children(recursive=True) if f"ServeReplica:{deployment}" in p.name()]


def kill_replica(deployment: str) -> None:
    """Kills the replicas of a deployment of this test session's Ray."""
    found = replicas(deployment)
    assert found
    for replica in found:
        replica.kill()
