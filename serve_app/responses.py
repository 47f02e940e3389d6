"""What the routes answer: OpenAI's names and meanings, and this service's extensions."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from deployments.jobs import PictureFormat


class InputTokens(BaseModel):
    """What a request brought in."""

    text_tokens: int
    """The prompt's tokens, as the checkpoint's tokenizer counts them."""
    image_tokens: int
    """The input picture's tokens, at the size that was asked for."""


class OutputTokens(BaseModel):
    """What a request took out."""

    image_tokens: int
    text_tokens: int = 0


class Usage(BaseModel):
    """How much was read and drawn. A picture counts one token for each 16×16 pixels of it, begun ones included."""

    input_tokens: int
    input_tokens_details: InputTokens
    output_tokens: int
    output_tokens_details: OutputTokens
    total_tokens: int


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


class Look(BaseModel):
    """What the pictures of an answer are like."""

    size: str
    """`WIDTHxHEIGHT`, pixels."""
    quality: str
    """The request's word for it, or the name of the preset that it left to the server."""
    output_format: PictureFormat
    background: Literal["opaque"] = "opaque"


class ImagesResponse(Look):
    """The answer of the image routes."""

    created: int
    """Unix seconds."""
    data: list[ImageObject]
    usage: Usage
    safety_identifier: str | None = None
    """The request's `safety_identifier`, else its `user`."""


class PartialImage(Look):
    """Event of a stream: what a picture looks like so far."""

    type: Literal["image_generation.partial_image", "image_edit.partial_image"]
    b64_json: str
    created_at: int
    """Unix seconds."""
    partial_image_index: int
    """Counts from 0 over the previews of this picture."""
    image_index: int
    """Which of the request's `n` pictures this is, from 0."""


class CompletedImage(Look):
    """Event of a stream: a finished picture."""

    type: Literal["image_generation.completed", "image_edit.completed"]
    b64_json: str
    b64_json_pose: str | None = None
    url: str | None = None
    """Where the picture can be fetched, too: only where the request's `response_format` is `url`."""
    url_pose: str | None = None
    created_at: int
    """Unix seconds."""
    image_index: int
    """Which of the request's `n` pictures this is, from 0."""
    seed: int
    usage: Usage
    """Of this picture; the prompt and the input picture count with the first."""
    safety_identifier: str | None = None


class Capabilities(BaseModel):
    """What a served name can do."""

    tasks: list[Literal["generation", "edit", "variation", "pose"]]
    sizes: list[str]
    default_size: str
    qualities: dict[str, dict[str, float | str]]
    """Each with its steps, guidance scale and scheduler."""
    default_quality: str
    styles: list[str]
    input_fidelities: list[str]
    schedulers: list[str]
    output_formats: list[str]
    response_format: Literal["url", "b64_json"]
    """The default."""
    n_means: Literal["count", "seed"]
    masks: bool
    previews: bool
    limits: dict[str, int | float]


class ModelObject(BaseModel):
    """One served name."""

    id: str
    object: Literal["model"] = "model"
    created: int
    """Unix seconds: when this server started to serve it."""
    owned_by: str
    capabilities: Capabilities | None = None
    """In GET /v1/models/{model} only."""


class ModelList(BaseModel):
    """The answer of GET /v1/models."""

    object: Literal["list"] = "list"
    data: list[ModelObject]
