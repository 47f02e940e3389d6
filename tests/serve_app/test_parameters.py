"""The README's table of OpenAI's parameters, held against the `openai` package and against what the server does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from openai.types.image_create_variation_params import ImageCreateVariationParams
from openai.types.image_edit_params import ImageEditParamsNonStreaming, ImageEditParamsStreaming
from openai.types.image_generate_params import ImageGenerateParamsNonStreaming, ImageGenerateParamsStreaming
from PIL import Image

from tests.openai_errors import assert_openai_error
from tests.pictures import drawing, encoded

README = Path(__file__).parents[2] / "README.md"
ROUTES: dict[str, tuple[Any, ...]] = {
    "generations": (ImageGenerateParamsNonStreaming, ImageGenerateParamsStreaming),
    "edits": (ImageEditParamsNonStreaming, ImageEditParamsStreaming),
    "variations": (ImageCreateVariationParams,),
}
DECISIONS = {"used", "accepted", "refused"}

EXAMPLES: dict[str, Any] = {
    "prompt": "y",
    "model": "dall-e-2",
    "n": 2,
    "size": "512x512",
    "quality": "hd",
    "style": "vivid",
    "input_fidelity": "high",
    "background": "auto",
    "output_format": "webp",
    "output_compression": 50,
    "response_format": "b64_json",
    "stream": True,
    "partial_images": 2,
    "user": "u",
    "safety_identifier": "s",
    "moderation": "low",
    "complexity": "low",
    "frame_count": 3,
    "frame_duration_ms": 100,
    "svg": {"model": "m"},
}
"""A value of each parameter that is not a file."""

TOGETHER: dict[str, dict[str, Any]] = {
    "output_compression": {"output_format": "jpeg"},
    "partial_images": {"stream": True},
}
"""What a parameter needs beside it."""


class Row(NamedTuple):
    """A row of the table."""

    parameter: str
    decisions: dict[str, str]


def table() -> list[Row]:
    section = README.read_text().partition("\n## Parameters\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE)
    return [Row(name, dict(zip(ROUTES, cells.split(" | "), strict=False))) for name, cells in lines]


def parameters(route: str) -> set[str]:
    return {name for params in ROUTES[route] for name in params.__annotations__}


DECIDED = [(row.parameter, route, row.decisions[route]) for row in table() for route in ROUTES]


@pytest.mark.parametrize("route", ROUTES)
def test_every_parameter_of_the_sdk_has_a_decision_and_no_other_has(route: str) -> None:
    decided = {parameter for parameter, of, decision in DECIDED if of == route and decision in DECISIONS}
    assert decided == parameters(route)


def test_every_cell_is_a_decision_or_a_dash() -> None:
    assert {decision for *_, decision in DECIDED} == DECISIONS | {"—"}


@pytest.mark.parametrize(("parameter", "route", "decision"), [row for row in DECIDED if row[2] in DECISIONS])
def test_the_server_does_what_the_table_says(http: httpx.Client, parameter: str, route: str, decision: str) -> None:
    fields: dict[str, Any] = {} if route == "variations" else {"prompt": "x"}
    files = {} if route == "generations" else {"image": encoded(drawing())}
    if parameter in ("mask", "markup"):
        files[parameter] = encoded(Image.new("RGBA", (120, 80)))
    elif parameter != "image":
        fields |= {parameter: EXAMPLES[parameter], **TOGETHER.get(parameter, {})}
    answer = send(http, route, fields, files)
    if decision == "refused":
        assert_openai_error(answer, 400, "invalid_value", parameter)
    else:
        assert answer.status_code == 200, answer.text[:500]


def send(http: httpx.Client, route: str, fields: dict[str, Any], files: dict[str, Any]) -> httpx.Response:
    path = f"/v1/images/{route}"
    if not files:
        return http.post(path, json=fields)
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    return http.post(path, data=texts, files=files)
