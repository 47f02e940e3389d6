"""A part of a stage: what is measured, reported and can fail by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from benchmarks.gpu.bench import Bench


class SkippedPart(Exception):
    """A part has nothing to do here; the message says why."""


class Part(NamedTuple):
    """Its name is that of its function."""

    measure: Callable[[Bench], dict[str, Any]]
    """Returns figures by their names; None is a figure that this device does not have."""
    seconds: float
    """On an H100, estimated; with less left of the stage's time it is skipped."""

    @property
    def name(self) -> str:
        return self.measure.__name__
