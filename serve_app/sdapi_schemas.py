"""What AUTOMATIC1111's clients send and read, and what it is called here."""

from __future__ import annotations

import math
import secrets
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from deployments.schedulers import SCHEDULERS
from serve_app.catalog import Entry
from serve_app.choices import Size, preset
from serve_app.errors import InvalidRequest
from serve_app.schemas import COUNT_MAX, SEED_MAX, ImagesRequest, WireModel, invalid

SAMPLERS = {
    "Euler": "euler",
    "Euler a": "euler_a",
    "Heun": "heun",
    "LMS": "lms",
    "DPM2": "dpm2",
    "DPM2 a": "dpm2_a",
    "DPM++ 2M": "dpmpp_2m",
    "DPM++ 2M SDE": "dpmpp_2m_sde",
    "DPM++ 2S": "dpmpp_2s",
    "DDIM": "ddim",
    "DDPM": "ddpm",
    "DEIS": "deis",
    "LCM": "lcm",
    "PLMS": "pndm",
    "UniPC": "unipc",
}
"""AUTOMATIC1111's samplers, each with its name in the scheduler table. Where that has a `…_karras` too, the sampler is
also to be had as `… Karras`, or with the scheduler `karras`."""

SCHEDULES = ("automatic", "karras")

FOREIGN_SCHEDULES = (
    *("uniform", "exponential", "polyexponential", "sgm_uniform", "kl_optimal", "align_your_steps", "simple", "normal"),
    *("ddim", "beta"),
)
"""AUTOMATIC1111's other noise schedules. Clients keep the one that was chosen with another server, and send it where
they show `automatic`; it is drawn as that."""

MAX_STRETCH, MAX_SCALE = 1.5, 4.0
"""How far the offered size that stands for the wanted one may be from it in shape and in area, as factors."""

SHAPE_WEIGHT = 3
"""Where several sizes are near. With 1, a square would be as near to a portrait as a larger portrait."""

Pixels = Annotated[int, Field(ge=8, le=8192)]


class TextToImageRequest(WireModel):
    """Body of POST /sdapi/v1/txt2img, as far as it is read. Numbers may be text, as they may there."""

    model_config = ConfigDict(strict=False)

    prompt: str = Field(description="text")
    negative_prompt: str = Field("", description="text")
    width: Pixels = Field(512, description="a whole number of pixels")
    height: Pixels = Field(512, description="a whole number of pixels")
    steps: Annotated[int, Field(ge=1, le=1000)] | None = Field(None, description="a whole number from 1")
    cfg_scale: Annotated[float, Field(ge=0, le=100)] | None = Field(None, description="a number from 0 to 100")
    sampler_name: str | None = Field(None, description="text")
    sampler_index: str | None = Field(None, description="text")
    scheduler: str | None = Field(None, description="text")
    seed: Annotated[int, Field(ge=-1, le=SEED_MAX)] = Field(-1, description="a whole number; -1 draws one")
    batch_size: Annotated[int, Field(ge=1, le=COUNT_MAX)] = Field(1, description=f"a whole number, 1 to {COUNT_MAX}")
    n_iter: Annotated[int, Field(ge=1, le=COUNT_MAX)] = Field(1, description=f"a whole number, 1 to {COUNT_MAX}")
    model: str | None = Field(None, description="text")
    override_settings: dict[str, Any] = Field({}, description="an object")
    enable_hr: bool = Field(False, description="false: there is no second pass at a higher resolution")


class ImageToImageRequest(TextToImageRequest):
    """Body of POST /sdapi/v1/img2img, as far as it is read."""

    init_images: Annotated[list[str], Field(min_length=1, max_length=1)] = Field(
        description="a list of one picture in base64"
    )
    denoising_strength: Annotated[float, Field(gt=0, le=1)] = Field(0.75, description="a number over 0, at most 1")
    mask: str | None = Field(None, description="text")


class ImagesAnswer(BaseModel):
    """The answer of txt2img and img2img."""

    images: list[str]
    """PNG, base64."""
    parameters: dict[str, Any]
    """What was drawn, after every default."""
    info: str
    """JSON: the seeds and the parameters again."""
    format: str = "png"


def openai_fields(wire: TextToImageRequest, entry: Entry) -> dict[str, Any]:
    """The same order in the words of OpenAI's routes, complete with its seed.

    Raises:
        InvalidRequest: naming the field in AUTOMATIC1111's words.
    """
    if wire.enable_hr:
        raise invalid("enable_hr", True, "false: there is no second pass at a higher resolution")
    count = wire.batch_size * wire.n_iter
    if count > COUNT_MAX:
        raise InvalidRequest(f"'batch_size' times 'n_iter' must be at most {COUNT_MAX}; got {count}.", "batch_size")
    default = preset(ImagesRequest(), entry)
    fields = {
        "prompt": wire.prompt,
        "negative_prompt": wire.negative_prompt,
        "model": entry.name,
        "size": nearest_size(wire.width, wire.height, entry),
        "n": count,
        "seed": secrets.randbelow(2**32) if wire.seed == -1 else wire.seed,
        "steps": wire.steps,
        "guidance_scale": wire.cfg_scale,
        "scheduler": scheduler_name(wire.sampler_name or wire.sampler_index, wire.scheduler, default.scheduler),
        "response_format": "b64_json",
    }
    if isinstance(wire, ImageToImageRequest) and entry.served.task != "pose":  # clients always send a strength
        fields["strength"] = wire.denoising_strength
    return {name: value for name, value in fields.items() if value is not None}


def nearest_size(width_px: int, height_px: int, entry: Entry) -> str:
    """The offered size that comes nearest to the wanted one, in shape before area.

    Raises:
        InvalidRequest: none comes near.
    """

    def distance(text: str) -> tuple[float, float]:
        """How many times another shape and another area it is, as logarithms."""
        size = Size.of(text)
        width, height = math.log(size.width_px / width_px), math.log(size.height_px / height_px)
        return abs(width - height), abs(width + height)

    def difference(text: str) -> float:
        stretch, scale = distance(text)
        return SHAPE_WEIGHT * stretch + scale

    near = [text for text in entry.model.sizes if _is_near(*distance(text))]
    if not near:
        raise invalid("width", f"{width_px}x{height_px}", f"near one of {', '.join(entry.model.sizes)}")
    return min(near, key=difference)


def _is_near(stretch: float, scale: float) -> bool:
    return stretch <= math.log(MAX_STRETCH) and scale <= math.log(MAX_SCALE)


def scheduler_name(sampler: str | None, schedule: str | None, default: str) -> str | None:
    """The scheduler table's name of a sampler and its noise schedule; None where neither is given.

    `default` is the scheduler table's name of what is drawn with where no sampler is given.

    Raises:
        InvalidRequest: there is no such pair.
    """
    schedule = (schedule or "automatic").lower().replace(" ", "_")
    if schedule not in SCHEDULES + FOREIGN_SCHEDULES:
        raise invalid("scheduler", schedule, f"one of {', '.join(SCHEDULES)}")
    known = {name.lower(): name for name in sampler_names()}
    if sampler and sampler.lower() not in known:
        raise invalid("sampler_name", sampler, f"one of {', '.join(known.values())}")
    chosen = sampler_names()[known[sampler.lower()]] if sampler else None
    if schedule != "karras":
        return chosen
    plain = (chosen or default).removesuffix("_karras")
    if f"{plain}_karras" not in SCHEDULERS:
        raise invalid("scheduler", schedule, f"automatic with the sampler {sampler or default}")
    return f"{plain}_karras"


def sampler_names() -> dict[str, str]:
    """`SAMPLERS`, and those with Karras' noise schedule."""
    karras = {f"{name} Karras": f"{here}_karras" for name, here in SAMPLERS.items() if f"{here}_karras" in SCHEDULERS}
    return SAMPLERS | karras
