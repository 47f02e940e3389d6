"""Pictures as clients send them, and how the service reads them."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from deployments.jobs import Pixels
from serve_app.uploads import UploadedMask, UploadedPicture
from tests import pictures

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
LIMIT_PIXELS = 1_000_000
FORMATS = ("PNG", "JPEG", "WEBP")


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    return pictures.encoded(image, format, **options).getvalue()


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


def swapped_profile() -> bytes:
    """An sRGB profile whose red and green primaries have changed places."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


def cut_out(size_px: tuple[int, int], box: tuple[int, int, int, int], mode: str = "RGBA") -> Image.Image:
    """A mask as OpenAI's clients make it: `box` is transparent, all else opaque."""
    image = Image.new("RGBA", size_px, (*BLUE, 255))
    image.paste((0, 0, 0, 0), box)
    return image if mode == "RGBA" else image.convert(mode)
