"""A pipeline's response → OpenAI's answer: URLs or base64, the look of the pictures, and the usage."""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Sequence
from typing import Literal, TypeAlias

from deployments.contracts import PipelineResponse, Preview, StoredPicture, StoredResponse
from deployments.jobs import TextToImageJob
from serve_app.jobs import Order
from serve_app.responses import (
    CompletedImage,
    ImageObject,
    ImagesResponse,
    InputTokens,
    OutputTokens,
    PartialImage,
    Usage,
)
from serve_app.signing import UrlSigner

TOKEN_PX = 16
"""Side of the square that counts as one image token: 4096 for 1024x1024 pixels, about what OpenAI's count there."""

Operation: TypeAlias = Literal["image_generation", "image_edit"]


class Answers:
    """Shapes answers under one configuration."""

    def __init__(self, signer: UrlSigner, public_url: str | None) -> None:
        self._signer = signer
        self._public_url = public_url

    def images(self, order: Order, response: StoredResponse | PipelineResponse, base_url: str) -> ImagesResponse:
        """The answer of an image route; URLs start with `base_url` where no public URL is configured."""
        created = int(time.time())
        if isinstance(response, StoredResponse):
            data = [ImageObject(url=self._url(base_url, p, created), seed=p.seed) for p in response.pictures]
            pose = {"url_pose": self._url(base_url, response.skeleton, created)} if response.skeleton else {}
        else:
            data = [ImageObject(b64_json=_base64(p.data), seed=p.seed) for p in response.pictures]
            pose = {"b64_json_pose": _base64(response.skeleton.data)} if response.skeleton else {}
        return ImagesResponse(
            created=created,
            data=[image.model_copy(update=pose) for image in data],
            usage=_usage(order, response.prompt_tokens, pictures=len(data)),
            safety_identifier=order.safety_identifier,
            **_look(order),
        )

    def linked(self, events: Sequence[CompletedImage], stored: StoredResponse, base_url: str) -> list[CompletedImage]:
        """The same events, with the URLs where their pictures are."""
        created = int(time.time())
        pose = {"url_pose": self._url(base_url, stored.skeleton, created)} if stored.skeleton else {}
        return [
            event.model_copy(update={"url": self._url(base_url, picture, created), **pose})
            for event, picture in zip(events, stored.pictures, strict=True)
        ]

    def _url(self, base_url: str, picture: StoredPicture, created: int) -> str:
        base = (self._public_url or base_url).rstrip("/")
        return f"{base}/images/{picture.id}?{self._signer.sign(picture.id, created)}"


def partial_image(order: Order, operation: Operation, preview: Preview) -> PartialImage:
    """The event of a preview."""
    return PartialImage(
        type=f"{operation}.partial_image",
        b64_json=_base64(preview.picture.data),
        created_at=int(time.time()),
        partial_image_index=preview.index,
        image_index=preview.picture_index,
        **_look(order),
    )


def completed_images(order: Order, operation: Operation, response: PipelineResponse) -> list[CompletedImage]:
    """The events of a finished job, one a picture."""
    return [
        CompletedImage(
            type=f"{operation}.completed",
            b64_json=_base64(picture.data),
            b64_json_pose=_base64(response.skeleton.data) if response.skeleton else None,
            created_at=int(time.time()),
            image_index=index,
            seed=picture.seed,
            usage=_usage(order, response.prompt_tokens, pictures=1, count_input=index == 0),
            safety_identifier=order.safety_identifier,
            **_look(order),
        )
        for index, picture in enumerate(response.pictures)
    ]


def _look(order: Order) -> dict[str, str]:
    job = order.job
    return {
        "size": f"{job.width_px}x{job.height_px}",
        "quality": order.quality,
        "output_format": job.encoding.format,
    }


def _usage(order: Order, prompt_tokens: int, pictures: int, count_input: bool = True) -> Usage:
    job = order.job
    picture_tokens = math.ceil(job.width_px / TOKEN_PX) * math.ceil(job.height_px / TOKEN_PX)
    read = InputTokens(
        text_tokens=prompt_tokens if count_input else 0,
        image_tokens=picture_tokens if count_input and not isinstance(job, TextToImageJob) else 0,
    )
    input_tokens, output_tokens = read.text_tokens + read.image_tokens, picture_tokens * pictures
    return Usage(
        input_tokens=input_tokens,
        input_tokens_details=read,
        output_tokens=output_tokens,
        output_tokens_details=OutputTokens(image_tokens=output_tokens),
        total_tokens=input_tokens + output_tokens,
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
