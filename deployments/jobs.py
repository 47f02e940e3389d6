"""Jobs: what an ingress orders from a pipeline deployment.

A job is complete: every default is filled in and every seed drawn before it leaves the ingress. The same job gives the
same pictures on every replica, so it may be sent again when a replica dies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Pixels: TypeAlias = npt.NDArray[np.uint8]
PictureFormat: TypeAlias = Literal["png", "jpeg", "webp"]


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How pictures are written."""

    format: PictureFormat = "png"
    compression: int = 100
    """Quality of jpeg and webp, 0 to 100; png is lossless and has none."""
    parameters: dict[str, str] = field(default_factory=dict)
    """Written into a PNG text chunk, together with the picture's seed; nothing is written when empty."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """An order for `len(seeds)` pictures of one prompt."""

    request_id: str
    prompt: str
    negative_prompt: str
    width_px: int
    height_px: int
    """The size of the finished picture."""
    render_width_px: int
    render_height_px: int
    """The size that is drawn; scaled to the finished size (Lanczos) where the two differ."""
    seeds: tuple[int, ...]
    """One per picture, 0 to 2^63 - 1: the seed of the CPU `torch.Generator` that all its noise comes from."""
    steps: int
    guidance_scale: float
    """Classifier-free guidance; 1 or less draws without it (one UNet row a picture instead of two)."""
    scheduler: str
    """A key of `deployments.schedulers.SCHEDULERS`."""
    deadline_unix_s: float
    """After this moment nobody waits for the pictures."""
    encoding: Encoding = field(default_factory=Encoding)
    previews: int = 0
    """How many previews of each picture are wanted on the way, 0 to 3."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TextToImageJob(Job):
    """prompt → pictures."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageEditJob(Job):
    """picture + prompt → pictures: img2img, and inpainting where there is a mask."""

    image: Pixels
    """(render_height_px, render_width_px, 3) uint8, sRGB."""
    strength: float
    """How much of the schedule is drawn anew: 0 < strength ≤ 1; 1 starts from noise alone."""
    mask: Pixels | None = None
    """(render_height_px, render_width_px) uint8: 255 is drawn anew, 0 is kept."""
    kept: Pixels | None = None
    """(height_px, width_px, 4) uint8: with a mask, the picture at the answer's size; alpha 255 is kept."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseControlJob(Job):
    """picture of a person + prompt → pictures in that pose."""

    image: Pixels
    """(render_height_px, render_width_px, 3) uint8, sRGB."""
    controlnet_scale: float
    control_start: float = 0.0
    control_end: float = 1.0
    """The part of the schedule, as fractions of the steps, in which the ControlNet acts."""
    skeleton: Pixels | None = None
    """(render_height_px, render_width_px, 3) uint8: the ControlNet's input. `PoseControl` fills it in."""
