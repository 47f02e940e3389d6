"""What `benchmarks.service` draws: a checkpoint, and pictures that suit it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from benchmarks.embedded import CHECKPOINT
from benchmarks.tiny import build_tiny
from deployments.config import CheckpointConfig

Picture: TypeAlias = tuple[int, int]
"""edge_px and steps."""


class Workload(NamedTuple):
    """A checkpoint, its pictures, and how many of them a run of some minutes can wait for."""

    checkpoint: CheckpointConfig
    uniform: Picture
    small: Picture
    steps: tuple[int, ...]
    """Of the mixed jobs, as `sizes_px`: each picture has one of these."""
    sizes_px: tuple[int, ...]
    pictures: int
    clients: int
    """That saturate the service: more than a pass holds, or all pictures end together and it idles as they travel."""


def embedded(folder: Path) -> Workload:
    """The embedded model; `uniform` is what demo.yaml draws where a request says nothing of size and steps."""
    return Workload(CHECKPOINT, (512, 12), (256, 6), (4, 30), (256, 512), pictures=24, clients=48)


def tiny(folder: Path) -> Workload:
    """A checkpoint with random weights, written below `folder`."""
    checkpoint = CheckpointConfig(path=str(build_tiny(folder)), dtype="float32")
    return Workload(checkpoint, (256, 12), (128, 6), (4, 20), (128, 256), pictures=8, clients=12)


WORKLOADS: dict[str, Callable[[Path], Workload]] = {"embedded": embedded, "tiny": tiny}
