"""Orders of a picture and of an edit, with fields that a test changes."""

from __future__ import annotations

import io
from typing import Any

import httpx
from PIL import Image

GENERATIONS = "/v1/images/generations"
EDITS = "/v1/images/edits"


def png(size: tuple[int, int] = (64, 64), colour: str = "teal") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def generate(http: httpx.Client, **fields: Any) -> httpx.Response:
    return http.post(GENERATIONS, json={"prompt": "a star", **fields})


def edit(http: httpx.Client, image: bytes | None = None, **fields: Any) -> httpx.Response:
    files = {"image": ("x.png", png() if image is None else image, "image/png")}
    return http.post(EDITS, data={"prompt": "a star", **fields}, files=files)
