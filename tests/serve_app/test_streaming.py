"""`stream: true`, through the OpenAI SDK's iterators with fake engines."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types import (
    ImageEditCompletedEvent,
    ImageEditPartialImageEvent,
    ImageGenCompletedEvent,
    ImageGenPartialImageEvent,
)
from pydantic import BaseModel

from deployments.contracts import Progress
from serve_app.streaming import StreamEvent, heartbeat
from tests.openai_errors import assert_openai_error
from tests.pictures import drawing, encoded
from tests.waiting import wait_for

GENERATIONS = "/v1/images/generations"
EVENTS: dict[str, type[BaseModel]] = {
    "image_generation.partial_image": ImageGenPartialImageEvent,
    "image_generation.completed": ImageGenCompletedEvent,
    "image_edit.partial_image": ImageEditPartialImageEvent,
    "image_edit.completed": ImageEditCompletedEvent,
}


def server_sent(answer: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    """Names and data of an answer's events, comments left out."""
    events = []
    for block in answer.text.removesuffix("\n\n").split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        events.append((lines["event"], json.loads(lines["data"])))
    return events


def test_comments_are_no_events_of_their_own(http: httpx.Client) -> None:
    """openai-go before 3.43 takes the empty line after a comment for the end of an event, and fails on it."""
    text = http.post(GENERATIONS, json={"prompt": "x", "stream": True}).text
    assert ": step " in text
    assert all("\ndata: " in block for block in text.removesuffix("\n\n").split("\n\n"))


@pytest.mark.parametrize("partial_images", [0, 1, 3])
def test_previews_come_before_the_picture(fake: openai.OpenAI, partial_images: int) -> None:
    stream = fake.images.generate(prompt="x", model="gpt-image-1", stream=True, partial_images=partial_images)
    events = list(stream)
    assert [event.type for event in events] == ["image_generation.partial_image"] * partial_images + [
        "image_generation.completed"
    ]
    assert [event.partial_image_index for event in events[:-1]] == list(range(partial_images))  # type: ignore[union-attr]
    assert base64.b64decode(events[-1].b64_json).startswith(b"\x89PNG")


def test_a_stream_ends_with_the_picture_that_the_same_request_without_it_gives(fake: openai.OpenAI) -> None:
    fields: dict[str, Any] = {"prompt": "x", "model": "gpt-image-1", "extra_body": {"seed": 6}}
    whole = fake.images.generate(**fields)
    *_, last = fake.images.generate(**fields, stream=True)
    assert whole.data
    assert last.b64_json == whole.data[0].b64_json
    assert isinstance(last, ImageGenCompletedEvent)
    assert whole.usage
    assert last.usage.total_tokens == whole.usage.total_tokens


def test_an_edit_streams(fake: openai.OpenAI) -> None:
    stream = fake.images.edit(image=encoded(drawing()), prompt="x", stream=True, partial_images=1)
    assert [event.type for event in stream] == ["image_edit.partial_image", "image_edit.completed"]


def test_a_pose_streams_with_its_skeleton(fake: openai.OpenAI) -> None:
    *_, last = fake.images.edit(image=encoded(drawing()), prompt="x", user="cn", stream=True)
    assert base64.b64decode(last.to_dict()["b64_json_pose"]).startswith(b"\x89PNG")  # type: ignore[arg-type]


def test_the_async_client_streams(fake_url: str) -> None:
    async def stream() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{fake_url}/v1", api_key="unused") as client:
            events = await client.images.generate(prompt="x", stream=True, partial_images=2)
            return [event.type async for event in events]

    assert len(asyncio.run(stream())) == 3


@pytest.mark.parametrize("kind", ["generation", "edit"])
def test_every_event_is_what_the_sdks_types_say(http: httpx.Client, kind: str) -> None:
    fields = {"prompt": "x", "model": "gpt-image-1", "size": "1024x1024", "output_format": "webp", "n": "2"}
    fields |= {"stream": "true", "partial_images": "2"}
    if kind == "edit":
        answer = http.post("/v1/images/edits", data=fields, files={"image": encoded(drawing())})
    else:
        typed = fields | {"n": 2, "stream": True, "partial_images": 2}
        answer = http.post(GENERATIONS, json=typed)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["cache-control"] == "no-cache"
    events = server_sent(answer)
    assert len(events) == 2 * 2 + 2
    for name, data in events:
        assert data["type"] == name
        EVENTS[name].model_validate(data, strict=True)
        assert (data["size"], data["output_format"], data["quality"]) == ("1024x1024", "webp", "auto")


def test_n_pictures_have_their_index_and_their_share_of_the_usage(http: httpx.Client) -> None:
    body = {"prompt": "one two", "model": "dall-e-2", "n": 3, "seed": 8, "stream": True, "partial_images": 1}
    events = server_sent(http.post(GENERATIONS, json=body))
    partial = [data for _, data in events if "partial_image_index" in data]
    completed = [data for _, data in events if "usage" in data]
    assert [(data["image_index"], data["partial_image_index"]) for data in partial] == [(0, 0), (1, 0), (2, 0)]
    assert [(data["image_index"], data["seed"]) for data in completed] == [(0, 8), (1, 9), (2, 10)]
    assert [data["usage"]["input_tokens"] for data in completed] == [2, 0, 0]
    assert [data["usage"]["output_tokens"] for data in completed] == [256, 256, 256]


def test_an_error_before_the_first_step_is_an_answer_of_its_own(http: httpx.Client) -> None:
    body = {"prompt": "too-long", "stream": True}
    assert_openai_error(http.post(GENERATIONS, json=body), 400, "prompt_too_long", "prompt")
    assert_openai_error(http.post(GENERATIONS, json={"prompt": "fail", "stream": True}), 500, "generation_failed")


def test_a_later_error_is_an_event(fake: openai.OpenAI, http: httpx.Client) -> None:
    body = {"prompt": "bug-late", "stream": True, "partial_images": 1}
    answer = http.post(GENERATIONS, json=body)
    assert answer.status_code == 200
    (first, _), (last, data) = server_sent(answer)
    assert (first, last) == ("image_generation.partial_image", "error")
    assert data["error"]["code"] == "internal_error"
    assert "secret" not in answer.text
    with pytest.raises(openai.APIError, match="could not be drawn") as raised:
        list(fake.images.generate(prompt="fail-late", stream=True))
    assert raised.value.code == "generation_failed"


def test_a_lost_replica_costs_no_preview_twice(http: httpx.Client, tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    lives.write_text("1")
    body = {"prompt": f"die-late={lives}", "stream": True, "partial_images": 2}
    names = [name for name, _ in server_sent(http.post(GENERATIONS, json=body))]
    assert lives.read_text() == "0"
    assert names == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]


def test_a_client_that_leaves_stops_the_work(fake: openai.OpenAI, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    prompt = f"sleep-late=9 mark={mark}"
    with fake.images.generate(prompt=prompt, stream=True, partial_images=1) as stream:
        assert next(stream).type == "image_generation.partial_image"
        assert mark.read_text() == "started"
    wait_for(mark, "cancelled")


def test_a_deadline_in_a_stream_is_an_event_and_stops_the_work(http: httpx.Client, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    body = {"prompt": f"sleep-late=30 mark={mark}", "stream": True, "partial_images": 1}
    _, (name, data) = server_sent(http.post(GENERATIONS, json=body))
    assert name == "error"
    assert data["error"]["code"] == "timeout"
    wait_for(mark, "cancelled")


def test_a_heartbeat_fills_the_pauses_and_keeps_every_event() -> None:
    async def events() -> AsyncGenerator[StreamEvent, None]:
        yield Progress(1, 2)
        await asyncio.sleep(0.2)
        yield Progress(2, 2)

    async def collect() -> list[StreamEvent | None]:
        return [event async for event in heartbeat(events(), interval_s=0.02)]

    beats = asyncio.run(collect())
    assert beats[0] == Progress(1, 2)
    assert beats[-1] == Progress(2, 2)
    assert len(beats) > 2
    assert set(beats[1:-1]) == {None}


def test_closing_a_heartbeat_closes_the_events() -> None:
    closed = []

    async def events() -> AsyncGenerator[StreamEvent, None]:
        try:
            yield Progress(1, 2)
            await asyncio.sleep(60)
        finally:
            closed.append(True)

    async def leave_early() -> None:
        beats = heartbeat(events(), interval_s=0.01)
        assert await anext(beats) == Progress(1, 2)
        assert await anext(beats) is None
        await beats.aclose()

    asyncio.run(leave_early())
    assert closed == [True]
