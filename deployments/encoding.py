"""Pixels → PNG, JPEG or WebP. The same pixels and settings give the same bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from deployments.contracts import Picture
from deployments.jobs import Encoding, Pixels

PNG_COMPRESSION = 1
"""zlib's level. Level 6 makes a drawn picture a tenth smaller and takes several times as long."""


def scaled(pixels: Pixels, width_px: int, height_px: int) -> Pixels:
    """A picture at another size, by Lanczos's filter; one of that size already stays as it is.

    Args:
        pixels: (height, width, 3) uint8, sRGB.
        width_px: The result's width.
        height_px: The result's height.
    """
    if pixels.shape[:2] == (height_px, width_px):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width_px, height_px), Image.Resampling.LANCZOS))


def encode_picture(pixels: Pixels, encoding: Encoding, seed: int) -> Picture:
    """Writes one picture.

    Args:
        pixels: (height, width, 3) uint8, sRGB.
        encoding: The format and its settings.
        seed: The picture's seed.

    Returns:
        The picture. A PNG has a text chunk `parameters`, where `encoding` gives any: one JSON object of
        `encoding.parameters` and `seed`, all strings.
    """
    image = Image.fromarray(pixels)
    file = io.BytesIO()
    if encoding.format == "png":
        info = _text(encoding.parameters, seed) if encoding.parameters else None
        image.save(file, "PNG", compress_level=PNG_COMPRESSION, pnginfo=info)
    else:
        image.save(file, encoding.format.upper(), quality=encoding.compression)
    return Picture(file.getvalue(), encoding.format, seed)


def _text(parameters: Mapping[str, str], seed: int) -> PngInfo:
    info = PngInfo()
    value = json.dumps({**parameters, "seed": str(seed)}, ensure_ascii=False, separators=(",", ":"))
    info.add_text("parameters", value)
    return info
