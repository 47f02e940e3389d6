"""Pictures for tests, and what came back."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import httpx
import openai.types
from PIL import Image, ImageDraw


def drawing(mode: str = "RGB", size: tuple[int, int] = (120, 80)) -> Image.Image:
    """A red disc on white."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((20, 20, 60, 60), "red")
    return image.convert(mode)


def encoded(image: Image.Image, format_: str = "PNG", **options: Any) -> io.BytesIO:
    """A picture as a file to upload."""
    file = io.BytesIO()
    image.save(file, format_, **options)
    file.seek(0)
    file.name = f"picture.{format_.lower()}"
    return file


def data_url(image: Image.Image, format_: str = "PNG") -> str:
    """A picture as a `data:` URL."""
    return f"data:image/{format_.lower()};base64,{base64.b64encode(encoded(image, format_).getvalue()).decode()}"


def opened(answer: openai.types.ImagesResponse, index: int = 0) -> Image.Image:
    """A picture of an answer."""
    assert answer.data
    given = answer.data[index]
    return Image.open(
        io.BytesIO(base64.b64decode(given.b64_json) if given.b64_json else httpx.get(given.url or "").content)
    )


def parameters(image: Image.Image) -> dict[str, str]:
    """What a PNG says about how it was drawn."""
    found: dict[str, str] = json.loads(image.info["parameters"])
    return found
