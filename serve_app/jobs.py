"""Wire request → job: every default filled in, every seed drawn, every value checked against the model."""

from __future__ import annotations

import secrets
from typing import Any, Literal, NamedTuple

from deployments.contracts import Encoding, ImageEditJob, PoseControlJob, TextToImageJob
from deployments.schedulers import SCHEDULERS
from serve_app.catalog import Entry
from serve_app.config import AppConfig
from serve_app.errors import InvalidRequest
from serve_app.schemas import COUNT_MAX, SEED_MAX, EditRequest, GenerationRequest, ImagesRequest, invalid, short
from serve_app.uploads import read_picture


class Order(NamedTuple):
    """A job, and how its answer goes back."""

    job: TextToImageJob | ImageEditJob | PoseControlJob
    entry: Entry
    response_format: Literal["url", "b64_json"]


class JobBuilder:
    """Builds jobs under one configuration."""

    def __init__(self, config: AppConfig) -> None:
        self._config = config

    def text_to_image(self, wire: GenerationRequest, entry: Entry, request_id: str, now_s: float) -> Order:
        """The order of a generation.

        Raises:
            InvalidRequest: naming the field, its value and what is allowed.
        """
        return self._order(wire, entry, TextToImageJob(**self._common(wire, entry, request_id, now_s)))

    def image_edit(self, wire: EditRequest, entry: Entry, image: bytes, request_id: str, now_s: float) -> Order:
        """The order of an edit: img2img, or pose-guided where `user` is `cn` or the name's task is `pose`.

        Decodes `image`: call it off the event loop.

        Raises:
            InvalidRequest, BadUpload: naming the field, its value and what is allowed.
        """
        pose = wire.user == "cn" or entry.served.task == "pose"
        common = self._common(wire, entry, request_id, now_s)
        if pose and not entry.model.poses:
            raise InvalidRequest(f"The model {entry.name!r} has no ControlNet, so it can't take poses.", "user")
        foreign = "strength" if pose else "controlnet_scale"
        if getattr(wire, foreign) is not None:
            kind = "a pose-guided edit" if pose else "an edit without user=cn"
            raise InvalidRequest(f"'{foreign}' has no effect on {kind}; leave it out.", foreign)
        pixels = read_picture(
            image,
            width_px=common["render_width_px"],
            height_px=common["render_height_px"],
            max_image_pixels=self._config.limits.max_image_pixels,
        )
        if pose:
            scale = entry.model.controlnet_scale if wire.controlnet_scale is None else wire.controlnet_scale
            return self._order(wire, entry, PoseControlJob(**common, image=pixels, controlnet_scale=scale))
        strength = entry.model.strength if wire.strength is None else wire.strength
        return self._order(wire, entry, ImageEditJob(**common, image=pixels, strength=strength))

    def _order(self, wire: ImagesRequest, entry: Entry, job: TextToImageJob | ImageEditJob | PoseControlJob) -> Order:
        return Order(job, entry, wire.response_format or entry.served.response_format)

    def _common(self, wire: ImagesRequest, entry: Entry, request_id: str, now_s: float) -> dict[str, Any]:
        limits, model = self._config.limits, entry.model
        for name in ("prompt", "negative_prompt"):
            text = getattr(wire, name) or ""
            if len(text) > limits.max_prompt_chars:
                raise InvalidRequest(
                    f"'{name}' has {len(text)} characters; at most {limits.max_prompt_chars} are allowed.", name
                )
        size = _choose("size", wire.size, model.default_size, entry.served.sizes, model.sizes)
        quality = _choose("quality", wire.quality, model.default_quality, entry.served.qualities, model.presets)
        preset = model.presets[quality]
        if wire.scheduler is not None and wire.scheduler not in SCHEDULERS:
            raise invalid("scheduler", wire.scheduler, f"one of {', '.join(SCHEDULERS)}")
        if wire.steps is not None and wire.steps > model.max_steps:
            raise invalid("steps", wire.steps, f"a whole number from 1 to {model.max_steps}")
        width_px, height_px = _pixels(size)
        render_width_px, render_height_px = _pixels(model.sizes[size])
        steps = wire.steps or preset.steps
        guidance_scale = preset.guidance_scale if wire.guidance_scale is None else wire.guidance_scale
        scheduler = wire.scheduler or preset.scheduler
        parameters = {
            "prompt": wire.prompt,
            "negative_prompt": wire.negative_prompt or "",
            "steps": str(steps),
            "guidance_scale": str(guidance_scale),
            "scheduler": scheduler,
            "model": entry.name,
        }
        return {
            "request_id": request_id,
            "prompt": wire.prompt,
            "negative_prompt": wire.negative_prompt or "",
            "width_px": width_px,
            "height_px": height_px,
            "render_width_px": render_width_px,
            "render_height_px": render_height_px,
            "seeds": _seeds(wire, entry),
            "steps": steps,
            "guidance_scale": guidance_scale,
            "scheduler": scheduler,
            "deadline_unix_s": now_s + limits.request_timeout_s,
            "encoding": Encoding(parameters=parameters if self._config.embed_parameters else {}),
        }


def _choose(field: str, value: str | None, default: str, aliases: dict[str, str], allowed: dict[Any, Any]) -> str:
    """The model's own value for a request's size or quality."""
    if value is None or (value == "auto" and "auto" not in allowed):
        return default
    value = aliases.get(value, value)
    if value not in allowed:
        raise invalid(field, value, f"one of {', '.join([*allowed, *aliases])}, or auto")
    return value


def _pixels(size: str) -> tuple[int, int]:
    width_px, height_px = size.split("x")
    return int(width_px), int(height_px)


def _seeds(wire: ImagesRequest, entry: Entry) -> tuple[int, ...]:
    """Picture k is drawn with the first seed plus k."""
    n_is_seed = entry.served.n_means == "seed" and wire.seed is None
    count = 1 if n_is_seed or wire.n is None else wire.n
    if not 1 <= count <= COUNT_MAX:
        raise invalid("n", wire.n, f"a whole number from 1 to {COUNT_MAX}")
    first = wire.n if n_is_seed else wire.seed
    if first is None:
        first = secrets.randbelow(SEED_MAX - COUNT_MAX)
    if first + count - 1 > SEED_MAX:
        raise InvalidRequest(f"'seed' + 'n' - 1 must be at most {SEED_MAX}; got {short(first)} and {count}.", "seed")
    return tuple(range(first, first + count))
