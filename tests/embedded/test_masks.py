"""Masks and streams with the real engine and the embedded model."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import openai
import pytest
from PIL import Image, ImageDraw

from tests.pictures import encoded, opened
from training.pictures import background, nearest_color, object_color, overlap, silhouette


def picture(client: openai.OpenAI) -> Image.Image:
    answer = client.images.generate(
        model="dall-e-2",
        prompt="a red circle on a white background",
        size="256x256",
        response_format="b64_json",
        extra_body={"seed": 3},
    )
    return opened(answer).convert("RGB")


def mask(box: tuple[int, int, int, int]) -> Image.Image:
    """Opens `box`."""
    image = Image.new("RGBA", (256, 256), "black")
    ImageDraw.Draw(image).rectangle(box, fill=(0, 0, 0, 0))
    return image


def edit(client: openai.OpenAI, image: Image.Image, box: tuple[int, int, int, int], prompt: str) -> np.ndarray:
    answer = client.images.edit(
        model="dall-e-2",
        image=encoded(image),
        mask=encoded(mask(box)),
        prompt=prompt,
        size="256x256",
        response_format="b64_json",
        extra_body={"seed": 1},
    )
    return np.asarray(opened(answer).convert("RGB")).astype(int)


@pytest.mark.parametrize("colour", ["blue", "black"])
def test_a_mask_changes_its_inside_and_nothing_else(embedded: openai.OpenAI, colour: str) -> None:
    before = picture(embedded)
    box = (32, 32, 223, 223)
    after = edit(embedded, before, box, f"a {colour} circle on a white background")
    outside = np.asarray(mask(box))[:, :, 3] > 0
    assert np.abs(after - np.asarray(before))[outside].max() <= 2
    assert nearest_color(object_color(after.astype(np.uint8))) == colour


def test_previews_come_nearer_to_the_picture(embedded: openai.OpenAI) -> None:
    fields: dict[str, Any] = {"prompt": "a red circle on a white background", "size": "256x256", "quality": "high"}
    *previews, last = embedded.images.generate(
        model="gpt-image-1", stream=True, partial_images=3, extra_body={"seed": 3}, **fields
    )
    assert len(previews) == 3
    whole = small(last.b64_json)
    distances = [np.abs(small(preview.b64_json) - whole).mean() for preview in previews]
    assert distances[2] < distances[0]


def small(b64: str) -> np.ndarray:
    image = Image.open(io.BytesIO(base64.b64decode(b64))).convert("RGB")
    return np.asarray(image.resize((64, 64))).astype(int)


def test_a_variation_looks_like_its_picture(embedded: openai.OpenAI) -> None:
    before = picture(embedded)
    with pytest.warns(DeprecationWarning, match="deprecated"):  # OpenAI retired its own endpoint
        answer = embedded.images.create_variation(
            image=encoded(before),
            model="dall-e-2",
            size="256x256",
            response_format="b64_json",
            extra_body={"seed": 1},
        )
    after = np.asarray(opened(answer).convert("RGB"))
    assert nearest_color(background(after)) == "white"
    assert overlap(silhouette(np.asarray(before)), silhouette(after)) >= 0.5
