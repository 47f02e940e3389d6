"""Masks: what is drawn anew, and what is no mask."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from serve_app.uploads import BadUpload
from tests.serve_app.uploaded import cut_out, encoded, mask, photo, read


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparent_part_of_a_mask_is_drawn_anew(mode: str) -> None:
    image = cut_out((64, 64), (16, 8, 48, 24))
    data = encoded(image.quantize(8, method=Image.Quantize.FASTOCTREE) if mode == "PA" else image.convert(mode))
    expected = np.zeros((64, 64), np.uint8)
    expected[8:24, 16:48] = 255
    found = mask(data)
    assert found.dtype == np.uint8
    assert (found == expected).all()


@pytest.mark.parametrize("size_px", [(200, 100), (100, 200), (333, 77)])
@pytest.mark.parametrize("target_px", [(64, 64), (128, 64), (256, 256)])
def test_mask_is_cropped_as_its_image(size_px: tuple[int, int], target_px: tuple[int, int]) -> None:
    width_px, height_px = size_px
    box = (width_px // 3, height_px // 4, width_px * 2 // 3, height_px * 3 // 4)
    image = Image.new("RGB", size_px, "black")
    image.paste("white", box)
    seen = read(encoded(image), *target_px)[..., 0]
    found = mask(encoded(cut_out(size_px, box)), size_px, *target_px)
    assert found.shape == seen.shape == target_px[::-1]
    assert ((found > 127) == (seen > 127)).mean() > 0.99


def test_mask_bleeds_nowhere() -> None:
    found = mask(encoded(cut_out((256, 256), (64, 64, 128, 128))), (256, 256))
    assert found[:14].max() == found[:, :14].max() == found[34:].max() == found[:, 34:].max() == 0
    assert found[18:30, 18:30].min() == 255


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "'mask' is empty"),
        (encoded(photo()), "'mask' has no transparency"),
        (encoded(photo(), "JPEG"), "'mask' has no transparency"),
        (encoded(cut_out((32, 64), (0, 0, 8, 8))), "must have the size of the image, 64x64; it is 32x64"),
        (encoded(cut_out((64, 64), (0, 0, 8, 8)))[:-40], "truncated or damaged"),
        (b"text", "'mask' must be a PNG"),
    ],
)
def test_wrong_mask_is_refused_by_name(data: bytes, message: str) -> None:
    with pytest.raises(BadUpload, match=message) as refused:
        mask(data)
    assert refused.value.param == "mask"
