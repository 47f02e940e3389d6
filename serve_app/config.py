"""`AppConfig`: the `args` of the application in a Serve YAML file, checked whole before a replica starts."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from deployments.config import CheckpointConfig, EngineConfig, Settings
from deployments.schedulers import SCHEDULERS
from deployments.storage import StorageConfig

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Names of this machine that no other machine can call it by."""


def _is_size(value: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{1,4}x[1-9][0-9]{1,4}", value) or any(int(side) % 8 for side in value.split("x")):
        raise ValueError(f"a size is WIDTHxHEIGHT in multiples of 8 pixels, such as 1024x1024; got {value!r}")
    return value


def _is_scheduler(value: str) -> str:
    if value not in SCHEDULERS:
        raise ValueError(f"unknown scheduler {value!r}; allowed: {', '.join(SCHEDULERS)}")
    return value


Size = Annotated[str, AfterValidator(_is_size)]
Scheduler = Annotated[str, AfterValidator(_is_scheduler)]


class Preset(Settings):
    """What a `quality` stands for."""

    steps: int = Field(ge=1, le=1000, description="Denoising steps.")
    guidance_scale: float = Field(ge=0, le=100, description="Classifier-free guidance; 1 or less draws without it.")
    scheduler: Scheduler = Field(description="A name of the scheduler table.")


class Style(Settings):
    """What a `style` changes of the quality's preset; unset values stay the preset's."""

    steps: int | None = Field(None, ge=1, le=1000, description="Denoising steps.")
    guidance_scale: float | None = Field(None, ge=0, le=100, description="Classifier-free guidance.")
    scheduler: Scheduler | None = Field(None, description="A name of the scheduler table.")


class InputFidelity(Style):
    """What an `input_fidelity` changes: `strength` in edits, `controlnet_scale` in pose-guided ones, and a style's."""

    strength: float | None = Field(None, gt=0, le=1, description="How much is drawn anew.")
    controlnet_scale: float | None = Field(None, ge=0, le=2, description="The ControlNet's weight.")


class ServedName(Settings):
    """One name that clients can send as `model`."""

    n_means: Literal["count", "seed"] = Field(
        "count", description="What `n` is: the number of images (OpenAI), or the seed of one image (the reference)."
    )
    task: Literal["auto", "pose"] = Field(
        "auto", description="`pose`: every edit is a pose-guided one, for clients that can't send `user=cn`."
    )
    unknown_fields: Literal["refuse", "ignore"] = Field(
        "refuse", description="What happens to a request's fields that the API does not know."
    )
    response_format: Literal["url", "b64_json"] = Field("url", description="The format where the request names none.")
    sizes: dict[str, Size] = Field(
        {}, description="Further sizes that clients of this name send, each with the model's size that answers it."
    )
    qualities: dict[str, str] = Field(
        {}, description="Further qualities that clients of this name send, each with the preset that answers it."
    )
    default_quality: str | None = Field(None, description="The quality where the request names none; else the model's.")


class ModelConfig(Settings):
    """One checkpoint, how it draws, and the names it is served under."""

    id: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", description="The model's name in logs, metrics and deployments.")
    checkpoint: CheckpointConfig = Field(description="The weights.")
    engine: EngineConfig = Field(EngineConfig(), description="How the engine batches.")
    share_engine: bool = Field(
        False,
        description="One deployment, `AllTasks`, with one engine draws all three tasks: one set of weights, one batch. "
        "Else each task has a deployment of its own, which scales by itself.",
    )
    names: dict[str, ServedName] = Field(min_length=1, description="The served names.")
    sizes: dict[Size, Size] = Field(
        min_length=1, description="Sizes on offer, each with the size it is drawn at before it is scaled (Lanczos)."
    )
    default_size: str = Field("1024x1024", description="The size where the request names none, or `auto`.")
    presets: dict[str, Preset] = Field(min_length=1, description="Qualities on offer.")
    default_quality: str = Field("smooth", description="The quality where the request names none.")
    styles: dict[str, Style] = Field({}, description="What each `style` of a generation changes.")
    input_fidelities: dict[str, InputFidelity] = Field({}, description="What each `input_fidelity` of an edit changes.")
    strength: float = Field(0.7, gt=0, le=1, description="Edits: how much is drawn anew where the request is silent.")
    mask_strength: float = Field(1.0, gt=0, le=1, description="Edits with a mask: the same, of what the mask opens.")
    controlnet_scale: float = Field(1.0, ge=0, le=2, description="Pose: the ControlNet's weight, likewise.")
    max_steps: int = Field(150, ge=1, le=1000, description="Most steps a request may ask for.")

    @model_validator(mode="after")
    def _names_refer_to_what_exists(self) -> ModelConfig:
        if bool(self.checkpoint.controlnet) != bool(self.checkpoint.pose_estimator):
            raise ValueError("checkpoint.controlnet and checkpoint.pose_estimator go together; only one is given")
        if self.engine.quantize == "fp8" and self.checkpoint.dtype != "bfloat16":
            raise ValueError(
                f"engine.quantize is fp8, which needs checkpoint.dtype bfloat16; it is {self.checkpoint.dtype}"
            )
        _known("default_size", self.default_size, self.sizes)
        _known("default_quality", self.default_quality, self.presets)
        for name, served in self.names.items():
            for size, answer in served.sizes.items():
                _known(f"names.{name}.sizes.{size}", answer, self.sizes)
            for quality, answer in served.qualities.items():
                _known(f"names.{name}.qualities.{quality}", answer, self.presets)
            if served.default_quality is not None:
                _known(f"names.{name}.default_quality", served.default_quality, {**self.presets, **served.qualities})
            if served.task == "pose" and not self.poses:
                raise ValueError(f"names.{name}.task is 'pose', but the checkpoint has no controlnet")
        return self

    @property
    def poses(self) -> bool:
        """Whether pose-guided edits are served."""
        return self.checkpoint.controlnet is not None and self.checkpoint.pose_estimator is not None

    @property
    def tasks(self) -> tuple[str, ...]:
        """The pipeline deployments that draw with this checkpoint, by the names of their classes."""
        if self.share_engine:
            return ("AllTasks",)
        return ("TextToImage", "ImageEdit", "PoseControl") if self.poses else ("TextToImage", "ImageEdit")


class AccessConfig(Settings):
    """Who may draw, and who may open a picture."""

    key_file: str | None = Field(
        None,
        min_length=1,
        description="API keys (`python -m serve_app.access new NAME`); without it only loopback is served.",
    )
    url_keys_file: str | None = Field(
        None, description="File of keys that sign image URLs; else IMAGE_URL_KEYS, else one is made in a local store."
    )
    cors_origins: list[str] = Field([], description="Web origins whose pages may call the API; `*` for all.")


class LimitsConfig(Settings):
    """What a request may cost."""

    max_prompt_chars: int = Field(32_000, ge=1, description="Longest prompt and negative prompt, in characters.")
    max_body_bytes: int = Field(64 * 2**20, ge=1024, description="Largest request body.")
    body_timeout_s: float = Field(120, gt=0, description="A request body that takes longer to arrive is 408.")
    max_bodies_bytes: int = Field(
        2**30, ge=1024, description="Largest bodies of all running requests of an ingress together; beyond it 429."
    )
    max_image_pixels: int = Field(50_000_000, ge=64 * 64, description="Largest uploaded picture, width × height.")
    request_timeout_s: float = Field(300, gt=0, description="After this the answer is 504 and the work stops.")
    retry_after_s: int = Field(5, ge=1, le=60, description="`Retry-After` of a 429, in seconds.")


class AppConfig(Settings):
    """The whole configuration of the service."""

    models: list[ModelConfig] = Field(min_length=1, description="The checkpoints; the first is the default model.")
    storage: StorageConfig = Field(StorageConfig(), description="Where pictures are kept.")
    public_url: str | None = Field(
        None, pattern=r"^https?://[^\s?#]+$", description="Base of image URLs; without it, what the client called."
    )
    access: AccessConfig = Field(AccessConfig(), description="Keys.")
    limits: LimitsConfig = Field(LimitsConfig(), description="What a request may cost.")
    embed_parameters: bool = Field(True, description="Write prompt, seed and settings into a PNG's text chunk.")

    def pipelines(self, model: ModelConfig) -> dict[str, str]:
        """The names of a model's pipeline deployments, by their tasks: with several models TextToImage:ID and so on."""
        return {task: f"{task}:{model.id}" if len(self.models) > 1 else task for task in model.tasks}

    @model_validator(mode="after")
    def _a_public_address_has_keys(self) -> AppConfig:
        if self.public_url and not self.access.key_file and urlsplit(self.public_url).hostname not in LOOPBACK:
            raise ValueError(
                f"public_url is {self.public_url!r}, which other machines call: set access.key_file too. Without keys "
                f"its host must be one of {', '.join(LOOPBACK)}"
            )
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> AppConfig:
        for what, names in (
            ("models[].id", [model.id for model in self.models]),
            ("models[].names", [name for model in self.models for name in model.names]),
        ):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"{what} must be unique; given twice: {', '.join(sorted(twice))}")
        return self


def _known(field: str, value: str, allowed: dict[str, object] | dict[str, str] | dict[str, Preset]) -> None:
    if value not in allowed:
        raise ValueError(f"{field} is {value!r}; allowed: {', '.join(allowed)}")
