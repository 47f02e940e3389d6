"""Orders of a picture and of an edit, with fields that a test changes."""

from __future__ import annotations

from typing import Any

import httpx
from PIL import Image

from tests.pictures import encoded

GENERATIONS = "/v1/images/generations"
EDITS = "/v1/images/edits"


def png(size: tuple[int, int] = (64, 64), colour: str = "teal") -> bytes:
    return encoded(Image.new("RGB", size, colour)).getvalue()


def generate(http: httpx.Client, **fields: Any) -> httpx.Response:
    return http.post(GENERATIONS, json={"prompt": "a star", **fields})


def edit(http: httpx.Client, image: bytes | None = None, **fields: Any) -> httpx.Response:
    files = {"image": ("x.png", png() if image is None else image, "image/png")}
    return http.post(EDITS, data={"prompt": "a star", **fields}, files=files)
