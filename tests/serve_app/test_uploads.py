from __future__ import annotations

import io
import struct
import time
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from deployments.jobs import Pixels
from serve_app.uploads import BadUpload, UploadedMask, UploadedPicture

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
LIMIT_PIXELS = 1_000_000
FORMATS = ("PNG", "JPEG", "WEBP")


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def read(data: bytes, width_px: int = 64, height_px: int = 64) -> Pixels:
    return UploadedPicture(data, max_image_pixels=LIMIT_PIXELS).fitted(width_px, height_px)


def mask(data: bytes, size_px: tuple[int, int] = (64, 64), width_px: int = 64, height_px: int = 64) -> Pixels:
    opened = UploadedMask(data, image_size_px=size_px, max_image_pixels=LIMIT_PIXELS)
    return opened.fitted(width_px, height_px)


def photo(width_px: int = 64, height_px: int = 64) -> Image.Image:
    """Smooth, coloured and without symmetry."""
    y, x = np.mgrid[0:height_px, 0:width_px]
    pixels = np.stack([x * 255 // width_px, y * 255 // height_px, (x + 2 * y) % 256], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width_px: int, height_px: int, bits: int, colour_type: int, pixels: bytes, extra: bytes = b"") -> bytes:
    """A PNG file by the specification, for what Pillow does not write."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width_px, height_px, bits, colour_type, 0, 0, 0))
    row = len(pixels) // height_px
    rows = b"".join(b"\0" + pixels[start : start + row] for start in range(0, len(pixels), row))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def near(pixel: npt.NDArray[np.uint8], colour: tuple[int, ...], within: int = 4) -> bool:
    return bool((np.abs(pixel.astype(int) - np.array(colour)) <= within).all())


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


def swapped_profile() -> bytes:
    """An sRGB profile whose red and green primaries have changed places."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


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


AVIF = b"\0\0\0\x1cftypavif"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty (zero bytes)"),
        (b"hello", "must be a PNG, JPEG or WebP file; got something else"),
        (b"\x89PNG", "got something else"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "got something else"),
        (encoded(photo(), "GIF"), "got a GIF"),
        (encoded(photo(), "BMP"), "got a BMP"),
        (encoded(photo(), "TIFF"), "got a TIFF"),
        (AVIF + bytes(100), "got an AVIF, HEIC or video file"),
        (b"%PDF-1.7", "got a PDF"),
        (b"RIFF\0\0\0\0WAVEfmt ", "got something else"),
        (b"RIFF\0\0\0\0WEBP", "truncated or damaged"),
        (b"\xff\xd8\xff", "truncated or damaged"),
        (b"\x89PNG\r\n\x1a\n", "truncated or damaged"),
        (png(0, 8, 8, 2, bytes(24)), "truncated or damaged"),
        (png(8, 8, 8, 5, bytes(24)), "truncated or damaged"),
    ],
)
def test_what_is_no_picture_is_refused_with_what_it_is(data: bytes, message: str) -> None:
    with pytest.raises(BadUpload) as refused:
        read(data)
    assert message in str(refused.value)
    assert refused.value.param == "image"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9])
def test_truncated_picture_is_refused(format: str, part: float) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8))
    data = encoded(noise, format)
    with pytest.raises(BadUpload, match="truncated or damaged"):
        read(data[: int(len(data) * part)])


def test_png_that_lacks_only_its_end_mark_is_read() -> None:
    assert (read(encoded(photo())[:-12]) == np.asarray(photo())).all()


@pytest.mark.parametrize("format", FORMATS)
def test_picture_of_too_many_pixels_is_refused(format: str) -> None:
    data = encoded(Image.new("L", (1001, 1000)), format)
    with pytest.raises(BadUpload, match="is 1001x1000, 1001000 pixels; 1000000 are allowed"):
        read(data)
    read(encoded(Image.new("L", (1000, 1000)), format))


def webp(kind: bytes, header: bytes) -> bytes:
    body = b"WEBP" + kind + struct.pack("<I", len(header)) + header
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_claiming(width_px: int, height_px: int) -> bytes:
    data = bytearray(encoded(photo(), "JPEG"))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", height_px, width_px)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png(100_000, 100_000, 8, 2, bytes(300_000))[:200], id="PNG"),
        pytest.param(jpeg_claiming(65_000, 65_000), id="JPEG"),
        pytest.param(webp(b"VP8X", bytes(4) + b"\xff\xff\xff" * 2 + bytes(40)), id="WebP extended"),
        pytest.param(webp(b"VP8L", b"\x2f" + b"\xff" * 4 + bytes(40)), id="WebP lossless"),
        pytest.param(webp(b"VP8 ", b"\x10\0\0\x9d\x01\x2a" + b"\xff\x3f" * 2 + bytes(40)), id="WebP lossy"),
    ],
)
def test_decompression_bomb_is_refused_by_its_header(data: bytes) -> None:
    started_s = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(BadUpload, match="1000000 are allowed"):
            read(data)
    assert time.perf_counter() - started_s < 0.5


@pytest.mark.parametrize("format", FORMATS)
def test_pillows_own_limit_takes_no_part(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64)
    data = encoded(photo(90, 90), format)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(data)
        mask(encoded(cut_out((90, 90), (0, 0, 9, 9))), (90, 90))


def test_pictures_are_read_in_many_threads_at_once() -> None:
    data = encoded(photo(200, 150), icc_profile=swapped_profile())
    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(lambda _: read(data), range(32))
    assert all((first == other).all() for other in others)


def cut_out(size_px: tuple[int, int], box: tuple[int, int, int, int], mode: str = "RGBA") -> Image.Image:
    """A mask as OpenAI's clients make it: `box` is transparent, all else opaque."""
    image = Image.new("RGBA", size_px, (*BLUE, 255))
    image.paste((0, 0, 0, 0), box)
    return image if mode == "RGBA" else image.convert(mode)


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


SEEDS = [
    *(encoded(photo(), format, exif=Image.Exif(), icc_profile=swapped_profile()) for format in FORMATS),
    encoded(photo().quantize(16), transparency=3),
    encoded(Image.new("LA", (16, 16), (5, 100))),
    encoded(Image.fromarray(np.full((8, 8), 999, np.uint16))),
    encoded(Image.new("CMYK", (8, 8)), "JPEG"),
    encoded(photo(), "PNG", save_all=True, append_images=[photo().rotate(90)]),
    encoded(photo().convert("RGBA"), "WEBP", save_all=True, append_images=[photo().rotate(90).convert("RGBA")]),
    encoded(photo(), "JPEG", progressive=True),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid picture with some bytes changed, a part cut out or doubled; checksums of PNG chunks are made right."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        position = draw(st.integers(8, max(9, len(data) - 1)))
        match draw(st.sampled_from(["byte", "cut", "double", "fill"])):
            case "byte":
                data[position : position + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del data[position : position + draw(st.integers(1, 64))]
            case "double":
                data[position:position] = data[position : position + 32]
            case _:
                data[position : position + 4] = b"\xff\xff\xff\xff"
    return repaired(bytes(data)) if data[:4] == b"\x89PNG" else bytes(data)


def repaired(data: bytes) -> bytes:
    """The same PNG with right checksums, so that a mutation gets past them."""
    out, position = bytearray(data[:8]), 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        if position + 12 + length > len(data):
            break
        out += chunk(data[position + 4 : position + 8], data[position + 8 : position + 8 + length])
        position += 12 + length
    return bytes(out + data[position:])


def only_bad_upload(read: Callable[[], Pixels]) -> None:
    try:
        pixels = read()
    except BadUpload:
        return
    assert pixels.shape[:2] == (64, 64)
    assert pixels.dtype == np.uint8


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated())
def test_damaged_pictures_raise_nothing_else(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        only_bad_upload(lambda: read(data))
        only_bad_upload(lambda: mask(data))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8 "]), st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_else(beginning: bytes, rest: bytes) -> None:
    only_bad_upload(lambda: read(beginning + rest))
