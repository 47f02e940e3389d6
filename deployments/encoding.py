"""Pixels → PNG, JPEG or WebP. The same pixels and settings give the same bytes (on one kind of processor)."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping

import numpy as np
from PIL import Image

from deployments.contracts import Picture
from deployments.jobs import Encoding, Pixels
from deployments.png import encode_png


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
    if encoding.format == "png":
        text = {"parameters": _json(encoding.parameters, seed)} if encoding.parameters else {}
        return Picture(encode_png(pixels, text), encoding.format, seed)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, encoding.format.upper(), quality=encoding.compression)
    return Picture(file.getvalue(), encoding.format, seed)


def _json(parameters: Mapping[str, str], seed: int) -> str:
    return json.dumps({**parameters, "seed": str(seed)}, ensure_ascii=False, separators=(",", ":"))
