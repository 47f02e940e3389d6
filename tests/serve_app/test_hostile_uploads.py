"""What is no picture, too large or damaged is refused by name, and raises nothing else."""

from __future__ import annotations

import struct
import time
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from deployments.jobs import Pixels
from serve_app.uploads import BadUpload
from tests.serve_app.uploaded import FORMATS, chunk, cut_out, encoded, mask, photo, png, read, swapped_profile

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
