"""LiteLLM's image functions."""

from __future__ import annotations

import base64
import io
import os
from typing import Any

import litellm  # type: ignore[import-not-found] # it has an environment of its own

SERVER: dict[str, Any] = {"api_base": os.environ["BASE_URL"], "api_key": "unused"}


def file(variable: str) -> io.BytesIO:
    """A picture as a file to upload."""
    opened = io.BytesIO(base64.b64decode(os.environ[variable]))
    opened.name = "picture.png"
    return opened


def main() -> None:
    """Draws, edits, and is told what was wrong."""
    drawn = litellm.image_generation(model="openai/dall-e-2", prompt="x", n=2, size="256x256", seed=7, **SERVER)
    assert [bool(image.url) for image in drawn.data] == [True, True]

    drawn = litellm.image_generation(model="openai/gpt-image-1", prompt="x", quality="high", **SERVER)
    assert base64.b64decode(drawn.data[0].b64_json).startswith(b"\x89PNG")

    edited = litellm.image_edit(model="openai/gpt-image-1", image=file("PICTURE"), prompt="x", **SERVER)
    assert base64.b64decode(edited.data[0].b64_json).startswith(b"\x89PNG")

    edited = litellm.image_edit(
        model="openai/gpt-image-1", image=[file("PICTURE")], mask=file("MASK"), prompt="x", **SERVER
    )
    assert edited.data[0].b64_json

    edited = litellm.image_edit(model="openai/dall-e-2", image=file("PICTURE"), prompt="x", size="512x512", **SERVER)
    assert edited.data[0].url

    refusal = ""
    try:
        litellm.image_generation(model="openai/dall-e-2", prompt="x", size="7x7", max_retries=0, **SERVER)
    except litellm.BadRequestError as error:
        refusal = str(error)
    assert "'size' must be one of" in refusal


if __name__ == "__main__":
    main()
