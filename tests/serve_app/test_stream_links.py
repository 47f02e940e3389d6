"""Streams whose pictures have URLs too: `response_format: url` with `stream`."""

from __future__ import annotations

import base64
import io
from typing import Any

import httpx
import openai
from PIL import Image, ImageDraw


def completed(events: Any) -> list[dict[str, Any]]:
    """The events of finished pictures, with the fields that the SDK does not know."""
    return [event.to_dict() for event in events if event.type.endswith(".completed")]


def test_a_streamed_picture_has_a_url_where_one_is_asked_for(fake: openai.OpenAI) -> None:
    events = completed(fake.images.generate(model="dall-e-2", prompt="x", n=2, stream=True, response_format="url"))
    assert len(events) == 2
    for event in events:
        assert httpx.get(event["url"]).content == base64.b64decode(event["b64_json"])


def test_a_streamed_pose_has_the_skeletons_url(fake: openai.OpenAI) -> None:
    image, file = Image.new("RGB", (64, 64)), io.BytesIO()
    ImageDraw.Draw(image).ellipse((20, 20, 40, 40), "red")
    image.save(file, "PNG")
    stream = fake.images.edit(image=file.getvalue(), prompt="x", user="cn", stream=True, response_format="url")
    (event,) = completed(stream)
    assert httpx.get(event["url_pose"]).content == base64.b64decode(event["b64_json_pose"])


def test_other_streams_store_nothing(fake: openai.OpenAI) -> None:
    for response_format in (openai.omit, "b64_json"):
        (event,) = completed(
            fake.images.generate(model="dall-e-2", prompt="x", stream=True, response_format=response_format)
        )
        assert "url" not in event
