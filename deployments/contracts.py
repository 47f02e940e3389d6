"""What crosses a deployment handle: jobs, pictures, events and picklable errors.

A job is complete: every default is filled in and every seed drawn before it leaves the ingress. The same job gives the
same pictures on every replica, so it may be sent again when a replica dies.

    JobError                    400  the job can't be done as ordered; the caller has to change it
    ├── PromptTooLong           400
    ├── NoPoseFound             400
    └── JobTooLarge             400  larger than the engine's budget: it would never be admitted
    DeadlineExceeded            504
    GenerationFailed            500  this job failed; the engine goes on
    ReplicaUnfit                503  this replica can't take or finish the job; another may
    StoreUnavailable            503  the picture store can't be written or read
    PictureNotFound             404
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from deployments.engine_stats import EngineStats

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


@dataclass(frozen=True)
class Picture:
    """One encoded picture."""

    data: bytes
    format: PictureFormat
    seed: int


@dataclass(frozen=True)
class PipelineResponse:
    """What a pipeline deployment answers."""

    pictures: tuple[Picture, ...]
    stages_s: dict[str, float]
    """Seconds by stage: queue, encode_prompt, denoise, decode, encode."""
    prompt_tokens: int
    """Tokens of the prompt, without start and end marks and padding."""
    skeleton: Picture | None = None
    """The pose that was used (PoseControl)."""


@dataclass(frozen=True)
class StoredPicture:
    """Where `Storage` put a picture."""

    id: str
    """128 random bits in hex and the format's extension: `0f…9c.png`."""
    seed: int


@dataclass(frozen=True)
class StoredResponse:
    """A `PipelineResponse` with ids for its pictures' bytes."""

    pictures: tuple[StoredPicture, ...]
    stages_s: dict[str, float]
    """As in `PipelineResponse`, and `store`."""
    prompt_tokens: int
    skeleton: StoredPicture | None = None


@dataclass(frozen=True)
class Queued:
    """The job waits; `position` jobs are before it."""

    position: int


@dataclass(frozen=True)
class Progress:
    """`step` of `steps` denoising steps are done."""

    step: int
    steps: int


@dataclass(frozen=True)
class Preview:
    """A small picture of what picture `picture_index` looks like so far."""

    index: int
    """Counts from 0 over the previews of this picture."""
    picture_index: int
    picture: Picture


@dataclass(frozen=True)
class Done:
    """The last event of a job."""

    response: PipelineResponse


Event: TypeAlias = Queued | Progress | Preview | Done


class Engine(Protocol):
    """What a pipeline deployment needs of an engine; tests put fakes here."""

    def submit(self, job: Job) -> AsyncGenerator[Event, None]:
        """Runs `job` and yields its events, `Done` last. Closing or cancelling the iterator drops the job."""
        ...

    def check_health(self) -> None:
        """Raises `ReplicaUnfit` when the engine can no longer draw."""
        ...

    @property
    def stats(self) -> EngineStats:
        """What the engine has counted so far."""
        ...


class PoseEstimator(Protocol):
    """Finds people in a picture."""

    def skeleton(self, image: Pixels) -> Pixels:
        """The people's skeletons in OpenPose's colours on black, in the size of `image`.

        Raises:
            NoPoseFound: nobody is in the picture.
        """
        ...


class ServiceError(Exception):
    """An error made for the client: its message may be shown. Built from positional arguments, so that it pickles."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message, param)
        self.message = message
        self.param = param

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[type[ServiceError], tuple[Any, ...]]:
        return type(self), self.args


class JobError(ServiceError):
    """The job can't be done as ordered."""


class PromptTooLong(JobError):
    """The prompt has more tokens than the checkpoint's `max_prompt_chunks` hold."""


class NoPoseFound(JobError):
    """The pose estimator found no person in the picture."""


class JobTooLarge(JobError):
    """The job needs more than the engine's whole budget."""


class DeadlineExceeded(ServiceError):
    """The job's deadline passed before its pictures were done."""


class GenerationFailed(ServiceError):
    """The job failed in the engine; the same job would fail again."""


class ReplicaUnfit(ServiceError):
    """The replica is draining or its device failed: another replica may do the job."""


class StoreUnavailable(ServiceError):
    """The picture store can't be written or read."""


class PictureNotFound(ServiceError):
    """No picture has this id."""
