"""How large the work of a run is."""

from __future__ import annotations

from typing import NamedTuple


class Scale(NamedTuple):
    """Of one run."""

    edge_px: int
    """The model's own size."""
    steps: int
    few_steps: int
    long_steps: int
    clients: int
    """Of the closed loop."""
    batch: int
    """Pictures of the largest pass, with guidance."""
    pictures: int
    """Of a closed loop, beside the first of each client."""
    repeats: int
    """Of a measurement with one picture."""


SDXL = Scale(edge_px=1024, steps=20, few_steps=4, long_steps=30, clients=16, batch=8, pictures=24, repeats=20)
TINY = Scale(edge_px=32, steps=4, few_steps=2, long_steps=6, clients=4, batch=2, pictures=4, repeats=3)
