"""Many jobs, many of them given up: nothing of them stays behind."""

from __future__ import annotations

import asyncio
import gc
import random
from typing import Any

import torch

from deployments.contracts import PipelineResponse
from deployments.diffusion.engine import DiffusionEngine
from deployments.diffusion.request import Request
from deployments.diffusion.trajectory import Trajectory
from deployments.jobs import ImageEditJob, Job
from tests.deployments.diffusion.conftest import half_mask, make_job, random_picture, respond, wait_until

JOBS = 500


def random_job(chance: random.Random) -> Any:
    fields: dict[str, Any] = {
        "prompt": chance.choice(["a red cat", "a blue dog", "the house"]),
        "steps": chance.randint(2, 6),
        "seeds": tuple(range(chance.randint(1, 2))),
        "guidance_scale": chance.choice([1.0, 5.0]),
        "scheduler": chance.choice(["euler", "euler_a", "dpmpp_2m", "ddim"]),
        "previews": chance.choice([0, 0, 1]),
    }
    if chance.random() < 0.3:
        fields |= {"job_class": ImageEditJob, "image": random_picture(), "strength": 0.9}
        fields["mask"] = chance.choice([None, half_mask()])
    elif chance.random() < 0.3:
        fields |= {"render_width_px": 16, "render_height_px": 16}
    return make_job(**fields)


def tensors() -> int:
    gc.collect()
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


def test_nothing_stays_behind(engine: DiffusionEngine) -> None:
    chance = random.Random(0)

    async def one(job: Job, patience_s: float | None) -> Any:
        await asyncio.sleep(chance.random() * 3)
        return await asyncio.wait_for(respond(engine, job), patience_s)

    async def everyone(jobs: int) -> list[Any]:
        patience = [chance.choice([None, 0.0, 0.01, 0.1, 0.5]) for _ in range(jobs)]
        tasks = (one(random_job(chance), each) for each in patience)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert len(asyncio.all_tasks()) == 1
        await wait_until(lambda: engine.stats.running + engine.stats.waiting == 0)
        return results

    asyncio.run(everyone(50))  # every prompt and scheduler has been met: what is remembered of them stays
    before = tensors()
    results = asyncio.run(everyone(JOBS))
    assert {type(result) for result in results} == {PipelineResponse, TimeoutError}
    del results
    assert not [each for each in gc.get_objects() if issubclass(type(each), Request | Trajectory)]
    assert tensors() <= before
    engine.check_health()
