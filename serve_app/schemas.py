"""The wire types: OpenAI's names and meanings, and this service's extensions.

Fields whose allowed values depend on the model (`size`, `quality`, `scheduler`) are plain text here and are checked
against the model in `jobs.py`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from serve_app.errors import InvalidRequest

SEED_MAX = 2**63 - 1
"""Largest seed that `torch.Generator.manual_seed` takes as a non-negative number."""

COUNT_MAX = 10
"""Most images of one request, as OpenAI's."""

Seed = Annotated[int, Field(ge=0, le=SEED_MAX, description=f"a whole number from 0 to {SEED_MAX}")]
Text = Annotated[str, Field(description="text")]


class WireModel(BaseModel):
    """Base of the request bodies: no type is converted silently, an unknown field is an error."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class ImagesRequest(WireModel):
    """What both image routes take. A field's description is what an error says is allowed."""

    prompt: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="text that is not empty"
    )
    model: Text | None = None
    n: Annotated[int, Field(ge=0, le=SEED_MAX)] | None = Field(
        None, description=f"a whole number: 1 to {COUNT_MAX} images, or a seed where the model's n is one"
    )
    size: Text | None = None
    quality: Text | None = None
    response_format: Literal["url", "b64_json"] | None = Field(None, description="url or b64_json")
    user: Text | None = None
    seed: Seed | None = Field(None, description=f"a whole number from 0 to {SEED_MAX}")
    negative_prompt: str | None = Field(None, description="text")
    steps: Annotated[int, Field(ge=1, le=1000)] | None = Field(None, description="a whole number from 1")
    guidance_scale: Annotated[float, Field(ge=0, le=100)] | None = Field(None, description="a number from 0 to 100")
    scheduler: Text | None = None


class GenerationRequest(ImagesRequest):
    """Body of POST /v1/images/generations (JSON)."""


class EditRequest(ImagesRequest):
    """Fields of POST /v1/images/edits (multipart), next to the file `image`."""

    strength: Annotated[float, Field(gt=0, le=1)] | None = Field(None, description="a number over 0, at most 1")
    controlnet_scale: Annotated[float, Field(ge=0, le=2)] | None = Field(None, description="a number from 0 to 2")


class ImageObject(BaseModel):
    """One picture of an answer."""

    url: str | None = None
    """Where the picture can be fetched until it expires."""
    b64_json: str | None = None
    """The picture itself, base64."""
    url_pose: str | None = None
    """Pose-guided edits: the skeleton that was used."""
    b64_json_pose: str | None = None
    seed: int
    """The seed that draws this picture again."""


class ImagesResponse(BaseModel):
    """The answer of the image routes."""

    created: int
    """Unix seconds."""
    data: list[ImageObject]


class ModelObject(BaseModel):
    """One served name."""

    id: str
    object: Literal["model"] = "model"
    created: int
    """Unix seconds: when this server started to serve it."""
    owned_by: str


class ModelList(BaseModel):
    """The answer of GET /v1/models."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


RequestT = TypeVar("RequestT", bound=ImagesRequest)


def parse_request(wire_type: type[RequestT], fields: dict[str, Any], ignore_unknown: bool) -> RequestT:
    """Checks the fields of a body, in which null and empty form values are already left out.

    Raises:
        InvalidRequest: naming the first field that is wrong, its value and what is allowed.
    """
    unknown = sorted(fields.keys() - wire_type.model_fields.keys())
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


def invalid(name: str, value: object, allowed: str) -> InvalidRequest:
    """The error for a field with a value that is not allowed."""
    return InvalidRequest(f"'{name}' must be {allowed}; got {short(value)}.", name)


def short(value: object) -> str:
    """`value` as an error message shows it, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
