"""The wire types: OpenAI's names and meanings, and this service's extensions.

Fields whose allowed values depend on the model (`size`, `quality`, `scheduler`) are plain text here and are checked
against the model in `jobs.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from deployments.jobs import PictureFormat
from serve_app.errors import InvalidRequest

SEED_MAX = 2**63 - 1
"""Largest seed that `torch.Generator.manual_seed` takes as a non-negative number."""

COUNT_MAX = 10
"""Most images of one request, as OpenAI's."""

Seed = Annotated[int, Field(ge=0, le=SEED_MAX, description=f"a whole number from 0 to {SEED_MAX}")]
Text = Annotated[str, Field(description="text")]
Strength = Annotated[float, Field(gt=0, le=1)]
LABELS = "text of at most 512 characters"
STRENGTHS = "a number over 0, at most 1"

REFUSED = {
    "complexity": "no plan is made before the picture is drawn; 'quality' and 'steps' say how much work goes into it",
    "frame_count": "this server draws still pictures",
    "frame_duration_ms": "this server draws still pictures",
    "svg": "this server draws pixels",
    "markup": "paint the marks into the image, or send a 'mask'",
}
"""Parameters of OpenAI's API that have no meaning for these models, and why."""


class WireModel(BaseModel):
    """Base of the request bodies: no type is converted silently, an unknown field is an error."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class ImagesRequest(WireModel):
    """What all image routes take. A field's description is what an error says is allowed."""

    model: Text | None = None
    n: Annotated[int, Field(ge=0, le=SEED_MAX)] | None = Field(
        None, description=f"a whole number: 1 to {COUNT_MAX} images, or a seed where the model's n is one"
    )
    size: Text | None = None
    quality: Text | None = None
    response_format: Literal["url", "b64_json"] | None = Field(None, description="url or b64_json")
    output_format: PictureFormat | None = Field(None, description="png, jpeg or webp")
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None, description="a whole number from 0 to 100"
    )
    background: Literal["opaque", "auto"] | None = Field(
        None, description="opaque or auto (the model draws no transparency)"
    )
    user: Annotated[str, Field(max_length=512)] | None = Field(None, description=LABELS)
    safety_identifier: Annotated[str, Field(max_length=512)] | None = Field(None, description=LABELS)
    seed: Seed | None = Field(None, description=f"a whole number from 0 to {SEED_MAX}")
    negative_prompt: str | None = Field(None, description="text")
    steps: Annotated[int, Field(ge=1, le=1000)] | None = Field(None, description="a whole number from 1")
    guidance_scale: Annotated[float, Field(ge=0, le=100)] | None = Field(None, description="a number from 0 to 100")
    scheduler: Text | None = None


class PromptRequest(ImagesRequest):
    """What the routes with a prompt take; these can stream."""

    prompt: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="text that is not empty"
    )
    moderation: Literal["low", "auto"] | None = Field(None, description="low or auto")
    stream: bool | None = Field(None, description="true or false")
    partial_images: Annotated[int, Field(ge=0, le=3)] | None = Field(None, description="a whole number from 0 to 3")


class GenerationRequest(PromptRequest):
    """Body of POST /v1/images/generations (JSON)."""

    style: Text | None = None


class EditRequest(PromptRequest):
    """Fields of POST /v1/images/edits (multipart or JSON), next to its pictures."""

    input_fidelity: Text | None = None
    strength: Strength | None = Field(None, description=STRENGTHS)
    controlnet_scale: Annotated[float, Field(ge=0, le=2)] | None = Field(None, description="a number from 0 to 2")


class VariationRequest(ImagesRequest):
    """Fields of POST /v1/images/variations (multipart), next to its picture."""

    strength: Strength | None = Field(None, description=STRENGTHS)


RequestT = TypeVar("RequestT", bound=WireModel)


def parse_request(wire_type: type[RequestT], fields: dict[str, Any], ignore_unknown: bool) -> RequestT:
    """Checks the fields of a body, in which null and empty form values are already left out.

    Raises:
        InvalidRequest: naming the first field that is wrong, its value and what is allowed.
    """
    unknown = sorted(fields.keys() - wire_type.model_fields.keys())
    for name in unknown:
        refuse_unsupported(name)
    if unknown and ignore_unknown:
        fields = {name: value for name, value in fields.items() if name in wire_type.model_fields}
    elif unknown:
        allowed = ", ".join(wire_type.model_fields)
        raise InvalidRequest(f"Unknown field {short(unknown[0])}. Allowed: {allowed}.", unknown[0][:64])
    try:
        return wire_type.model_validate(fields)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][0])
        if problem["type"] == "missing":
            raise InvalidRequest(f"'{name}' is required.", name) from None
        raise invalid(name, fields[name], wire_type.model_fields[name].description or "text") from None


def refuse_unsupported(name: str) -> None:
    """Says why, where a field or file belongs to OpenAI's API and not to this one; `svg[model]` counts as `svg`.

    Raises:
        InvalidRequest: naming it.
    """
    parameter = name.partition("[")[0]
    if parameter in REFUSED:
        raise InvalidRequest(f"'{parameter}' is not supported: {REFUSED[parameter]}.", parameter)


def invalid(name: str, value: object, allowed: str) -> InvalidRequest:
    """The error for a field with a value that is not allowed."""
    return InvalidRequest(f"'{name}' must be {allowed}; got {short(value)}.", name)


def short(value: object) -> str:
    """`value` as an error message shows it, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
