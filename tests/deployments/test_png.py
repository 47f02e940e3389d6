"""PNG files, as two decoders read them."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from deployments.jobs import Pixels
from deployments.png import encode_png


def noise(height_px: int, width_px: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


def gradient(height_px: int, width_px: int) -> Pixels:
    return np.add.outer(np.arange(height_px), np.arange(3 * width_px)).astype(np.uint8).reshape(height_px, width_px, 3)


def assert_decoders_read(data: bytes, pixels: Pixels) -> None:
    image = Image.open(io.BytesIO(data))
    assert (image.format, image.mode) == ("PNG", "RGB")
    assert np.array_equal(np.asarray(image), pixels)
    bgr: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(bgr[..., ::-1], pixels)


@pytest.mark.parametrize(
    ("height_px", "width_px"), [(1, 1), (1, 37), (37, 1), (2, 2), (17, 31), (512, 512), (255, 1023)]
)
@pytest.mark.parametrize("draw", [noise, gradient, lambda height, width: np.full((height, width, 3), 255, np.uint8)])
def test_every_pixel_is_kept(draw: Any, height_px: int, width_px: int) -> None:
    pixels = draw(height_px, width_px)
    assert_decoders_read(encode_png(pixels, {}), pixels)
    assert_decoders_read(encode_png(pixels, {"parameters": "a cat – 猫"}), pixels)


@pytest.mark.parametrize(
    "layout",
    [
        lambda pixels: pixels[::2, ::3],
        lambda pixels: pixels[::-1, ::-1],
        lambda pixels: pixels[..., ::-1],
        lambda pixels: pixels.transpose(1, 0, 2),
        lambda pixels: np.asfortranarray(pixels),
        lambda pixels: pixels[5:20, 7:31],
    ],
    ids=["strided", "turned", "BGR", "transposed", "column by column", "a part"],
)
def test_a_picture_may_lie_in_memory_as_it_likes(layout: Any) -> None:
    pixels = layout(noise(40, 50))
    pixels.flags.writeable = False
    assert_decoders_read(encode_png(pixels, {}), pixels)
    assert encode_png(pixels, {}) == encode_png(np.ascontiguousarray(pixels), {})


@pytest.mark.parametrize("value", ["plain", "", "Café, naïve", "a cat – 猫 🐈", "two\nlines", "long " * 20_000])
def test_text_comes_back_from_the_chunk_that_pillow_would_write(value: str) -> None:
    data = encode_png(gradient(8, 9), {"parameters": value})
    image: Any = Image.open(io.BytesIO(data))
    assert image.text == {"parameters": value}
    assert (b"tEXt" in data, b"iTXt" in data) == ("猫" not in value, "猫" in value)


def test_text_comes_before_the_pixels() -> None:
    data = encode_png(gradient(8, 9), {"parameters": "a"})
    assert data.index(b"IHDR") < data.index(b"tEXt") < data.index(b"IDAT") < data.index(b"IEND")


def test_the_same_picture_gives_the_same_bytes() -> None:
    pictures = [noise(300, 200), gradient(300, 200), noise(20, 30)]
    first = [encode_png(pixels, {"parameters": "a"}) for pixels in pictures]
    again = [encode_png(pixels.copy(), {"parameters": "a"}) for pixels in reversed(pictures)]
    assert first == again[::-1]
