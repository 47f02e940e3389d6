"""What a pipeline deployment answers, and what it needs of an engine and a pose estimator."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from deployments.engine_stats import EngineStats
from deployments.jobs import Job, PictureFormat, Pixels


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
    """Seconds by stage: queue, encode_prompt, denoise, decode, encode. A GPU is given the decode while it works on the
    last step, so there `decode` has that step too."""
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

    def close(self) -> None:
        """Stops the engine; unfinished jobs end with `ReplicaUnfit`."""
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
