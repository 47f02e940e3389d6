"""The ten stages: their order, their processes, and the seconds below which it is not worth to begin one."""

from __future__ import annotations

from typing import NamedTuple


class Stage(NamedTuple):
    """A module of this package with `PARTS`."""

    name: str
    seconds: float
    """With less of the budget left it is not begun. What its parts take on an H100 is estimated, not measured."""
    process: str
    """Stages of one process share one set of weights and one engine; see `runner`."""
    answers: str
    most: float = 0
    """It may take so long even where later stages then are not begun; else it gets what these do not need."""


STAGES = (
    Stage("machine", 15, "engine", "does everything load; what card is it"),
    Stage("ceilings", 20, "engine", "what the card can do at most"),
    Stage("correctness", 45, "engine", "do engine and diffusers agree, eager; what diffusers takes"),
    Stage("throughput", 120, "engine", "pictures/s of the compiled engine, and where the time goes", most=330),
    Stage("latency", 30, "engine", "one picture at a time; short jobs among long ones"),
    Stage("exhaustion", 20, "engine", "does it survive a lack of memory"),
    Stage("pipelines", 35, "engine", "poses, edits, masks, small pictures, few steps"),
    Stage("graphs", 60, "graphs", "what whole-model compilation, CUDA graphs and 8 bits would add"),
    Stage("service", 90, "service", "what HTTP and Ray cost"),
    Stage("start", 25, "start", "a start with kept caches"),
)

BY_NAME = {stage.name: stage for stage in STAGES}
