"""diffusers' pipeline around a checkpoint, as a server would call it: a static batch in, PNG bytes out."""

from __future__ import annotations

import io
from typing import Any

from benchmarks.embedded import draw_with_diffusers
from deployments.config import CheckpointConfig
from deployments.diffusion.components import load_components

MAX_BATCH, BATCH_WAIT_S = 8, 0.01


class StaticPipeline:
    """One call has one size and one number of steps; a mixed batch takes a call for each kind in it."""

    def __init__(self, checkpoint: str) -> None:
        """`checkpoint`: its folder."""
        self._components = load_components(CheckpointConfig(path=checkpoint, dtype="float32"))

    def draw(self, orders: list[dict[str, Any]]) -> list[bytes]:
        """`orders`: `steps`, `size` (pixels of an edge) and `seed` each."""
        pictures: list[bytes] = [b""] * len(orders)
        for steps, size in dict.fromkeys((order["steps"], order["size"]) for order in orders):
            chosen = [at for at, order in enumerate(orders) if (order["steps"], order["size"]) == (steps, size)]
            seeds = [orders[at]["seed"] for at in chosen]
            for at, picture in zip(chosen, draw_with_diffusers(self._components, size, steps, seeds), strict=True):
                file = io.BytesIO()
                picture.save(file, "PNG", compress_level=1)  # as our own service writes it
                pictures[at] = file.getvalue()
        return pictures
