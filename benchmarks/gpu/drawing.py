"""Jobs of each kind, drawn with the engine, and how long that takes."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from benchmarks.gpu.bench import Bench
from benchmarks.report import percentile
from deployments.contracts import Done, PipelineResponse
from deployments.diffusion.engine import DiffusionEngine
from deployments.jobs import ImageEditJob, Job, Pixels, PoseControlJob, TextToImageJob

import numpy as np  # isort: skip

PROMPT, NEGATIVE_PROMPT = "a red cat on the house", "a blue dog"
GUIDANCE_SCALE = 8.0

Kind = Literal["text", "pose", "edit", "mask"]


class Order(NamedTuple):
    """What a job draws, beside its seed."""

    edge_px: int
    steps: int
    guidance_scale: float = GUIDANCE_SCALE
    kind: Kind = "text"


class Loop(NamedTuple):
    """What a closed loop measured."""

    pictures_per_s: float
    p50_s: float
    p95_s: float
    picture_bytes: float


def make_job(order: Order, seed: int) -> Job:
    edge_px = order.edge_px
    fields: dict[str, Any] = {"width_px": edge_px, "height_px": edge_px, "seeds": (seed,)}
    fields |= {"render_width_px": edge_px, "render_height_px": edge_px, "request_id": f"benchmark-{seed}"}
    fields |= {"prompt": PROMPT, "negative_prompt": NEGATIVE_PROMPT, "steps": order.steps, "scheduler": "euler"}
    fields |= {"guidance_scale": order.guidance_scale, "deadline_unix_s": time.time() + 3600}
    if order.kind == "text":
        return TextToImageJob(**fields)
    picture = _picture(edge_px)
    if order.kind == "pose":
        return PoseControlJob(**fields, image=picture, skeleton=picture, controlnet_scale=1.0)
    mask = np.zeros((edge_px, edge_px), dtype=np.uint8)
    mask[: edge_px // 2] = 255
    return ImageEditJob(**fields, image=picture, strength=0.6, mask=mask if order.kind == "mask" else None)


@lru_cache
def _picture(edge_px: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (edge_px, edge_px, 3), dtype=np.uint8)


async def draw(engine: DiffusionEngine, order: Order, seed: int) -> PipelineResponse:
    """One picture, to its PNG bytes."""
    async for event in engine.submit(make_job(order, seed)):
        if isinstance(event, Done):
            return event.response
    raise RuntimeError("the engine gave no picture")


def draw_together(engine: DiffusionEngine, orders: Sequence[Order]) -> list[PipelineResponse]:
    """All at once."""

    async def everyone() -> list[PipelineResponse]:
        return await asyncio.gather(*(draw(engine, order, seed) for seed, order in enumerate(orders)))

    return asyncio.run(everyone())


def one_by_one(engine: DiffusionEngine, order: Order, repeats: int) -> dict[str, float]:
    """Seconds from order to PNG bytes with nothing else to do, after one picture to warm up; medians by stage."""
    seconds, responses = [], []
    for _ in range(repeats + 1):
        started_s = time.monotonic()
        (response,) = draw_together(engine, [order])
        seconds.append(time.monotonic() - started_s)
        responses.append(response)
    stages = {
        f"{stage} s": statistics.median(each.stages_s[stage] for each in responses[1:])
        for stage in responses[0].stages_s
    }
    return {"p50 s": statistics.median(seconds[1:]), "p95 s": percentile(seconds[1:], 95), **stages}


async def closed_loop(
    draw_one: Callable[[int], Awaitable[int]], clients: int, pictures: int, most_s: float = 120
) -> Loop:
    """Clients that each order the next picture when they have theirs.

    Counted from when there have been as many pictures as clients, so that the rush at the start is no part of it.

    Args:
        draw_one: Draws a picture of a seed and returns its size in bytes.
        clients: How many.
        pictures: How many are counted.
        most_s: After this no further picture is ordered.
    """
    done_s: list[float] = []
    seconds: list[float] = []
    sizes: list[int] = []
    seeds = itertools.count()
    end_s = time.monotonic() + most_s

    async def client() -> None:
        while len(done_s) < clients + pictures and time.monotonic() < end_s:
            started_s = time.monotonic()
            sizes.append(await draw_one(next(seeds)))
            done_s.append(time.monotonic())
            seconds.append(done_s[-1] - started_s)

    await asyncio.gather(*(client() for _ in range(clients)))
    counted = done_s[clients - 1 : clients + pictures]
    rate = (len(counted) - 1) / (counted[-1] - counted[0])
    waits = seconds[clients:]
    return Loop(rate, statistics.median(waits), percentile(waits, 95), statistics.mean(sizes))


def loop_of_engine(bench: Bench, engine: DiffusionEngine, order: Order, most_s: float = 120) -> Loop:
    """The engine alone under a closed loop."""

    async def draw_one(seed: int) -> int:
        return len((await draw(engine, order, seed)).pictures[0].data)

    return asyncio.run(closed_loop(draw_one, bench.scale.clients, bench.scale.pictures, most_s))
