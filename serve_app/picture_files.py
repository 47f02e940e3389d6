"""Opening picture files that somebody sent: told by their bytes, and measured before they are decoded."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from deployments.errors import ServiceError


class BadUpload(ServiceError):
    """An uploaded picture can't be read, or may not be."""


# Pillow's classes themselves and not `Image.open`, whose limit on pixels and its warning are global to the process.
OPENERS: dict[str, Callable[[io.BytesIO], ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "WebP": WebPImageFile,
}


def open_picture(data: bytes, *, max_image_pixels: int, param: str) -> ImageFile:
    """Opens a picture file without decoding it.

    Raises:
        BadUpload: empty, no PNG, JPEG or WebP, damaged at its beginning, or of more pixels than allowed.
    """
    if not data:
        raise BadUpload(f"'{param}' is empty (zero bytes); send a PNG, JPEG or WebP file.", param)
    kind = _kind(data)
    if kind not in OPENERS:
        raise BadUpload(f"'{param}' must be a PNG, JPEG or WebP file; got {kind}.", param)
    if kind == "WebP":  # its decoder takes the memory for the whole canvas when it is opened
        _check_size(_webp_size(data), max_image_pixels, param)
    try:
        image = OPENERS[kind](io.BytesIO(data))
    except Exception as error:  # Pillow raises whatever a damaged header leads it into
        raise _damaged(kind, param) from error
    _check_size(image.size, max_image_pixels, param)
    return image


def decode(image: ImageFile, param: str) -> Image.Image:
    """The first frame, upright by its EXIF orientation, in mode L, RGB, CMYK, or RGBA where anything is transparent.

    Raises:
        BadUpload: truncated or damaged.
    """
    try:
        image.load()
        with suppress(Exception):  # damaged EXIF: the picture itself is fine
            ImageOps.exif_transpose(image, in_place=True)
        return _full_colour(image)
    except Exception as error:  # as above: Pillow promises no set of exceptions for damaged data
        raise _damaged(str(image.format), param) from error


def _kind(data: bytes) -> str:
    """What the bytes are: a key of `OPENERS`, or words for the error message."""
    signatures = {
        b"\x89PNG\r\n\x1a\n": "PNG",
        b"\xff\xd8\xff": "JPEG",
        b"GIF8": "a GIF",
        b"BM": "a BMP",
        b"II*\0": "a TIFF",
        b"MM\0*": "a TIFF",
        b"%PDF": "a PDF",
        b"8BPS": "a Photoshop file",
    }
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        return "an AVIF, HEIC or video file"
    return next((kind for signature, kind in signatures.items() if data.startswith(signature)), "something else")


def _webp_size(data: bytes) -> tuple[int, int]:
    """Canvas size by the first chunk (RFC 9649, sections 2.5 to 2.7); (0, 0) where there is none."""
    if len(data) < 30:
        return 0, 0
    match data[12:16]:
        case b"VP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def _check_size(size_px: tuple[int, int], max_image_pixels: int, param: str) -> None:
    width_px, height_px = size_px
    if width_px * height_px > max_image_pixels:
        raise BadUpload(
            f"'{param}' is {width_px}x{height_px}, {width_px * height_px} pixels; {max_image_pixels} are allowed.",
            param,
        )


def _damaged(kind: str, param: str) -> BadUpload:
    return BadUpload(f"'{param}' is a {kind} file that is truncated or damaged.", param)


def _full_colour(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion cuts off all above 255
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")
