"""Pixels into files."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from deployments.encoding import encode_picture, scaled
from deployments.jobs import Encoding, PictureFormat

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def test_png_keeps_every_pixel_and_its_parameters() -> None:
    encoding = Encoding(parameters={"prompt": "a cat – 猫", "steps": "20"})
    picture = encode_picture(PIXELS, encoding, seed=7)
    image = Image.open(io.BytesIO(picture.data))
    assert np.array_equal(np.asarray(image), PIXELS)
    assert json.loads(image.info["parameters"]) == {"prompt": "a cat – 猫", "steps": "20", "seed": "7"}
    assert picture == encode_picture(PIXELS, encoding, seed=7)


def test_no_parameters_no_text() -> None:
    assert "parameters" not in Image.open(io.BytesIO(encode_picture(PIXELS, Encoding(), 7).data)).info


@pytest.mark.parametrize("picture_format", ["png", "jpeg", "webp"])
def test_file_has_the_format_and_the_size(picture_format: PictureFormat) -> None:
    image = Image.open(io.BytesIO(encode_picture(PIXELS, Encoding(format=picture_format), 7).data))
    assert (image.format, image.size) == (picture_format.upper(), (32, 24))


def test_scaled_to_the_finished_size() -> None:
    assert scaled(PIXELS, 64, 48).shape == (48, 64, 3)
    assert scaled(PIXELS, 32, 24) is PIXELS


@pytest.mark.parametrize("picture_format", ["jpeg", "webp"])
def test_compression_is_the_quality(picture_format: PictureFormat) -> None:
    sizes = [
        len(encode_picture(PIXELS, Encoding(format=picture_format, compression=compression), 7).data)
        for compression in (0, 50, 100)
    ]
    assert sizes == sorted(set(sizes))
