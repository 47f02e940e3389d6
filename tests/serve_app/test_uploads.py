"""Pictures of every kind that clients send, as pixels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from serve_app.uploads import UploadedPicture
from tests.serve_app.uploaded import (
    BLUE,
    FORMATS,
    GREEN,
    LIMIT_PIXELS,
    RED,
    WHITE,
    encoded,
    near,
    photo,
    png,
    read,
    swapped_profile,
)


@pytest.mark.parametrize("format", FORMATS)
def test_picture_is_known_by_its_bytes(format: str) -> None:
    pixels = read(encoded(photo(), format, quality=95))
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - np.asarray(photo())).mean() < 6


def test_picture_of_the_right_size_is_taken_as_it_is() -> None:
    assert (read(encoded(photo())) == np.asarray(photo())).all()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param(Image.new("L", (8, 8), 77), (77, 77, 77), id="grey"),
        pytest.param(Image.new("1", (8, 8), 1), WHITE, id="one bit"),
        pytest.param(Image.new("RGB", (8, 8), BLUE).quantize(4), BLUE, id="palette"),
        pytest.param(Image.new("RGBA", (8, 8), (*RED, 255)), RED, id="opaque alpha"),
        pytest.param(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), WHITE, id="transparent"),
        pytest.param(Image.new("RGBA", (8, 8), (*RED, 128)), (255, 127, 127), id="half transparent"),
        pytest.param(Image.new("LA", (8, 8), (0, 0)), WHITE, id="transparent grey"),
        pytest.param(Image.new("LA", (8, 8), (50, 255)), (50, 50, 50), id="opaque grey with alpha"),
        pytest.param(Image.fromarray(np.full((8, 8), 40_000, np.uint16)), (156,) * 3, id="16-bit grey"),
        pytest.param(Image.fromarray(np.full((8, 8), 255, np.uint16)), (0,) * 3, id="dark 16-bit grey"),
    ],
)
def test_every_kind_of_png_pixels_is_read(image: Image.Image, expected: tuple[int, ...]) -> None:
    assert near(read(encoded(image))[32, 32], expected, within=1)


def test_16_bit_colours_are_read() -> None:
    pixels = np.full((8, 8, 3), [65_535, 32_768, 0], ">u2")
    assert near(read(png(8, 8, 16, 2, pixels.tobytes()))[32, 32], (255, 128, 0), within=1)


def test_16_bit_alpha_is_read() -> None:
    pixels = np.full((8, 8, 4), [65_535, 0, 0, 0], ">u2")
    assert near(read(png(8, 8, 16, 6, pixels.tobytes()))[32, 32], WHITE)


@pytest.mark.parametrize(
    ("image", "key", "expected"),
    [
        (Image.new("RGB", (8, 8), RED).quantize(4), 0, WHITE),
        (Image.new("RGB", (8, 8), RED), RED, WHITE),
        (Image.new("RGB", (8, 8), RED), GREEN, RED),
        (Image.new("L", (8, 8), 9), 9, WHITE),
        (Image.new("1", (8, 8), 0), 0, WHITE),
    ],
)
def test_transparent_colour_lies_on_white(image: Image.Image, key: Any, expected: tuple[int, ...]) -> None:
    assert near(read(encoded(image, transparency=key))[32, 32], expected)


def test_cmyk_jpeg_is_read() -> None:
    assert near(read(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))[32, 32], RED, within=8)


def test_transparent_webp_lies_on_white() -> None:
    assert near(read(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "WEBP"))[32, 32], WHITE)


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_first_frame_of_an_animation_is_read(format: str) -> None:
    first, second = (Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE))
    data = encoded(first, format, save_all=True, append_images=[second], duration=100, lossless=True)
    assert near(read(data)[32, 32], RED)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(format: str, orientation: int) -> None:
    undo: dict[int, Image.Transpose] = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = photo(64, 32)
    lying = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(lying, format, exif=exif, quality=95)
    assert np.abs(read(data, 64, 32).astype(int) - np.asarray(upright)).mean() < 6
    assert UploadedPicture(data, max_image_pixels=LIMIT_PIXELS).size_px == (64, 32)


def test_damaged_exif_does_not_hide_the_picture() -> None:
    data = encoded(photo(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert (read(data) == np.asarray(photo())).all()
    assert UploadedPicture(data, max_image_pixels=LIMIT_PIXELS).size_px == (64, 64)


@pytest.mark.parametrize("format", FORMATS)
def test_icc_profile_is_applied(format: str) -> None:
    data = encoded(Image.new("RGB", (8, 8), RED), format, icc_profile=swapped_profile(), quality=95)
    assert near(read(data)[32, 32], GREEN, within=8)


def test_icc_profile_is_applied_below_transparency() -> None:
    image = Image.new("RGBA", (64, 64), (*RED, 255))
    image.paste((0, 0, 0, 0), (0, 0, 32, 64))
    pixels = read(encoded(image, icc_profile=swapped_profile()))
    assert near(pixels[32, 10], WHITE)
    assert near(pixels[32, 50], GREEN)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "profile",
    [b"no profile", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), swapped_profile()[:200]],
    ids=["no profile", "of Lab pictures", "cut off"],  # their bytes have the time in them
)
def test_profile_that_does_not_fit_is_ignored(mode: str, profile: bytes) -> None:
    image = Image.new(mode, (8, 8), "white")
    assert near(read(encoded(image, icc_profile=profile))[32, 32], WHITE)


@pytest.mark.parametrize(("width_px", "height_px"), [(64, 64), (32, 64), (64, 32), (128, 96)])
def test_picture_is_scaled_and_cropped_to_its_centre(width_px: int, height_px: int) -> None:
    """A blue border, a red middle: what the crop leaves is in the middle of the longer side."""
    wide = Image.new("RGB", (400, 100), BLUE)
    wide.paste(RED, (160, 0, 240, 100))
    pixels = read(encoded(wide), width_px, height_px)
    assert pixels.shape == (height_px, width_px, 3)
    assert near(pixels[height_px // 2, width_px // 2], RED)
    assert (pixels == pixels[:, ::-1]).mean() > 0.9, "left and right are cropped alike"


@pytest.mark.parametrize("size_px", [(1, 1), (1, 5000), (5000, 1), (3, 2), (999, 1000)])
def test_odd_sizes_are_fitted(size_px: tuple[int, int]) -> None:
    assert near(read(encoded(Image.new("RGB", size_px, GREEN)), 96, 64).reshape(-1, 3).mean(axis=0), GREEN)


def test_pictures_are_read_in_many_threads_at_once() -> None:
    data = encoded(photo(200, 150), icc_profile=swapped_profile())
    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(lambda _: read(data), range(32))
    assert all((first == other).all() for other in others)
