"""Wire request → job: every default filled in, every seed drawn, every value checked against the model."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from deployments.jobs import ImageEditJob, PoseControlJob, TextToImageJob
from deployments.schedulers import SCHEDULERS
from serve_app import choices
from serve_app.catalog import Entry
from serve_app.choices import first_set
from serve_app.config import AppConfig, InputFidelity, Style
from serve_app.errors import InvalidRequest
from serve_app.schemas import (
    EditRequest,
    GenerationRequest,
    ImagesRequest,
    PromptRequest,
    VariationRequest,
    invalid,
)
from serve_app.uploads import UploadedMask, UploadedPicture

POSE_USER = "cn"
"""The `user` that asks for a pose-guided edit, as the reference has it."""


class Order(NamedTuple):
    """A job, and how its answer goes back."""

    job: TextToImageJob | ImageEditJob | PoseControlJob
    entry: Entry
    response_format: Literal["url", "b64_json"]
    quality: str
    """The request's word for it, or the name of the preset that it left to the server."""
    safety_identifier: str | None
    """Who the picture is for, in the client's own terms."""


class JobBuilder:
    """Builds jobs under one configuration."""

    def __init__(self, config: AppConfig) -> None:
        self._config = config

    def text_to_image(self, wire: GenerationRequest, entry: Entry, request_id: str, now_s: float) -> Order:
        """The order of a generation.

        Raises:
            InvalidRequest: naming the field, its value and what is allowed.
        """
        style = choices.override("style", wire.style, entry.model.styles, Style())
        return self._order(wire, entry, TextToImageJob(**self._common(wire, entry, style, request_id, now_s)))

    def image_edit(
        self, wire: EditRequest, entry: Entry, image: bytes, mask: bytes | None, request_id: str, now_s: float
    ) -> Order:
        """The order of an edit: img2img, or pose-guided where `user` is `cn` or the name's task is `pose`.

        Decodes `image` and `mask`: call it off the event loop.

        Raises:
            InvalidRequest, BadUpload: naming the field, its value and what is allowed.
        """
        fidelity = choices.override(
            "input_fidelity", wire.input_fidelity, entry.model.input_fidelities, InputFidelity()
        )
        model = entry.model
        if wire.user == POSE_USER or entry.served.task == "pose":
            _check_pose(wire, entry, mask)
            scale = first_set(wire.controlnet_scale, fidelity.controlnet_scale, model.controlnet_scale)
            common = self._common(wire, entry, fidelity, request_id, now_s, controlnet_scale=scale)
            picture = self._decode(image)
            return self._order(wire, entry, PoseControlJob(**common, image=picture.fitted(*_render_px(common))))
        if wire.controlnet_scale is not None:
            raise InvalidRequest("'controlnet_scale' has no effect on an edit without user=cn.", "controlnet_scale")
        strength = model.strength if mask is None else model.mask_strength
        strength = first_set(wire.strength, fidelity.strength, strength)
        common = self._common(wire, entry, fidelity, request_id, now_s, strength=strength)
        picture = self._decode(image)
        masked = {} if mask is None else self._masked(picture, mask, common)
        return self._order(wire, entry, ImageEditJob(**common, image=picture.fitted(*_render_px(common)), **masked))

    def variation(self, wire: VariationRequest, entry: Entry, image: bytes, request_id: str, now_s: float) -> Order:
        """The order of a variation: img2img without a prompt. Decodes `image`: call it off the event loop.

        Raises:
            InvalidRequest, BadUpload: naming the field, its value and what is allowed.
        """
        strength = first_set(wire.strength, entry.model.strength)
        common = self._common(wire, entry, Style(), request_id, now_s, strength=strength)
        picture = self._decode(image).fitted(*_render_px(common))
        return self._order(wire, entry, ImageEditJob(**common, image=picture))

    def _decode(self, image: bytes) -> UploadedPicture:
        return UploadedPicture(image, max_image_pixels=self._config.limits.max_image_pixels)

    def _masked(self, picture: UploadedPicture, mask: bytes, common: dict[str, Any]) -> dict[str, Any]:
        """A masked edit's `mask` and `kept`."""
        max_image_pixels = self._config.limits.max_image_pixels
        opened = UploadedMask(mask, image_size_px=picture.size_px, max_image_pixels=max_image_pixels)
        finished_px = common["width_px"], common["height_px"]
        kept = np.dstack([picture.fitted(*finished_px), 255 - opened.fitted(*finished_px)])
        return {"mask": opened.fitted(*_render_px(common)), "kept": kept}

    def _order(self, wire: ImagesRequest, entry: Entry, job: TextToImageJob | ImageEditJob | PoseControlJob) -> Order:
        user = None if wire.user == POSE_USER else wire.user
        return Order(
            job=job,
            entry=entry,
            response_format=wire.response_format or entry.served.response_format,
            quality=choices.quality(wire, entry),
            safety_identifier=wire.safety_identifier or user,
        )

    def _common(
        self, wire: ImagesRequest, entry: Entry, change: Style, request_id: str, now_s: float, **own: float
    ) -> dict[str, Any]:
        """What all kinds of jobs have, and `own`, the numbers of one kind.

        A field of the request goes before `change`, and that before the preset.
        """
        limits, model = self._config.limits, entry.model
        prompt = wire.prompt if isinstance(wire, PromptRequest) else ""
        negative_prompt = wire.negative_prompt or ""
        choices.check_length("prompt", prompt, limits.max_prompt_chars)
        choices.check_length("negative_prompt", negative_prompt, limits.max_prompt_chars)
        choices.check_known("scheduler", wire.scheduler, SCHEDULERS)
        size, render_size = choices.sizes(wire, entry)
        preset = choices.preset(wire, entry)
        if wire.steps is not None and wire.steps > model.max_steps:
            raise invalid("steps", wire.steps, f"a whole number from 1 to {model.max_steps}")
        steps = first_set(wire.steps, change.steps, preset.steps)
        guidance_scale = first_set(wire.guidance_scale, change.guidance_scale, preset.guidance_scale)
        scheduler = first_set(wire.scheduler, change.scheduler, preset.scheduler)
        parameters = {
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "steps": str(steps),
            "guidance_scale": str(guidance_scale),
            "scheduler": scheduler,
            "model": entry.name,
            **{name: str(value) for name, value in own.items()},
        }
        return {
            "request_id": request_id,
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "width_px": size.width_px,
            "height_px": size.height_px,
            "render_width_px": render_size.width_px,
            "render_height_px": render_size.height_px,
            "seeds": choices.seeds(wire, entry),
            "steps": steps,
            "guidance_scale": guidance_scale,
            "scheduler": scheduler,
            "deadline_unix_s": now_s + limits.request_timeout_s,
            "encoding": choices.encoding(wire, parameters if self._config.embed_parameters else {}),
            "previews": choices.previews(wire),
            **own,
        }


def _render_px(common: dict[str, Any]) -> tuple[int, int]:
    return common["render_width_px"], common["render_height_px"]


def _check_pose(wire: EditRequest, entry: Entry, mask: bytes | None) -> None:
    if not entry.model.poses:
        raise InvalidRequest(f"The model {entry.name!r} has no ControlNet, so it can't take poses.", "user")
    for name, value in (("strength", wire.strength), ("mask", mask)):
        if value is not None:
            raise InvalidRequest(f"'{name}' has no effect on a pose-guided edit; leave it out.", name)
