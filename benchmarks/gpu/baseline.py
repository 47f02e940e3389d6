"""The same pictures from diffusers' pipeline, in static batches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

from benchmarks.gpu.drawing import NEGATIVE_PROMPT, PROMPT, Order
from deployments.diffusion.components import Components
from deployments.encoding import encode_picture
from deployments.jobs import Encoding

import numpy as np  # isort: skip
import torch  # isort: skip


@torch.inference_mode()
def draw_with_diffusers(components: Components, order: Order, seeds: Sequence[int]) -> int:
    """A static batch, to PNG bytes; returns how many of these."""
    pipeline = components.text_to_image
    pipeline.scheduler = components.scheduler("euler")
    pictures = pipeline(
        prompt=[PROMPT] * len(seeds),
        negative_prompt=[NEGATIVE_PROMPT] * len(seeds),
        width=order.edge_px,
        height=order.edge_px,
        num_inference_steps=order.steps,
        guidance_scale=order.guidance_scale,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
    ).images
    return sum(len(encode_picture(np.asarray(each), Encoding(), seed=0).data) for each in pictures)


def seconds_of_diffusers(components: Components, order: Order, batch: int, repeats: int) -> float:
    """Seconds a picture in a static batch: once to warm up, then the median."""
    seconds = []
    for _ in range(repeats + 1):
        started_s = time.monotonic()
        draw_with_diffusers(components, order, range(batch))
        seconds.append(time.monotonic() - started_s)
    return statistics.median(seconds[1:]) / batch
