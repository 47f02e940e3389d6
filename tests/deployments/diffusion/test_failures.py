"""What goes wrong harms the job it belongs to, and nothing else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import torch

from deployments.config import CheckpointConfig
from deployments.contracts import Done, Event, PipelineResponse, Preview, Progress, Queued
from deployments.diffusion.components import Components, load_components
from deployments.diffusion.engine import IDLE_HEARTBEAT_S, DiffusionEngine
from deployments.diffusion.ticker import GROWTH_TICKS
from deployments.errors import DeadlineExceeded, GenerationFailed, JobError, JobTooLarge, PromptTooLong, ReplicaUnfit
from deployments.jobs import ImageEditJob, PoseControlJob
from tests.deployments.diffusion.conftest import (
    draw,
    events_of,
    largest_difference,
    make_job,
    random_picture,
    respond,
    wait_until,
)

Build = Callable[..., DiffusionEngine]


class Gate:
    """Holds the engine's thread before a module's forward until it is opened."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()
        module.register_forward_pre_hook(self._wait)

    def _wait(self, *_: Any) -> None:
        self.reached.set()
        assert self._open.wait(10)

    def open(self) -> None:
        self._open.set()

    async def wait_until_reached(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 10)


# Cancelling


@pytest.mark.parametrize("stage", ["text_encoder", "unet", "vae.decoder"])
def test_cancelled_job_leaves(build_engine: Build, components: Components, stage: str) -> None:
    """While its prompt is encoded, while it is denoised, while it is decoded."""
    gate = Gate(components.text_to_image.components[stage.split(".")[0]].get_submodule("".join(stage.split(".")[1:])))
    engine = build_engine()

    async def cancel() -> None:
        task = asyncio.create_task(respond(engine, make_job(steps=1 if stage == "vae.decoder" else 1000)))
        await gate.wait_until_reached()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open()
        if stage != "vae.decoder":
            await wait_until(lambda: engine.stats.cancelled == 1)
        await wait_until(lambda: engine.stats.finished + engine.stats.cancelled == 1)
        assert engine.stats.ticks <= 2

    asyncio.run(cancel())
    draw(engine, make_job())


def test_cancelled_waiting_job_never_starts(build_engine: Build, components: Components) -> None:
    gate = Gate(components.unet)
    engine = build_engine()

    async def cancel() -> None:
        first = asyncio.create_task(respond(engine, make_job()))
        await gate.wait_until_reached()
        events = engine.submit(make_job(steps=1000))
        assert await anext(events) == Queued(1)
        await events.aclose()
        gate.open()
        await first
        await wait_until(lambda: engine.stats.cancelled == 1)
        assert engine.stats.ticks == 4

    asyncio.run(cancel())


def test_a_consumer_that_stops_listening_drops_the_job(engine: DiffusionEngine) -> None:
    async def stop_after_two_steps() -> None:
        before = engine.stats.cancelled
        async with aclosing(engine.submit(make_job(steps=1000))) as events:
            async for event in events:
                if isinstance(event, Progress) and event.step == 2:
                    break
        await wait_until(lambda: engine.stats.cancelled == before + 1)

    asyncio.run(stop_after_two_steps())


def test_deadline_while_drawn_and_while_waiting(build_engine: Build) -> None:
    engine = build_engine(budget=2 * 16 * 16, overtaking=0)

    async def both() -> list[Any]:
        jobs = (make_job(steps=1000, deadline_unix_s=time.time() + 0.4) for _ in range(2))
        return await asyncio.gather(*(respond(engine, job) for job in jobs), return_exceptions=True)

    errors = asyncio.run(both())
    ticks = engine.stats.ticks
    assert [type(error) for error in errors] == [DeadlineExceeded, DeadlineExceeded]
    asyncio.run(wait_until(lambda: engine.stats.overdue + engine.stats.cancelled == 2))
    assert engine.stats.ticks <= ticks + 2  # of 2000


def test_deadline_while_the_device_hangs(build_engine: Build, components: Components) -> None:
    gate = Gate(components.unet)
    engine = build_engine()
    with pytest.raises(DeadlineExceeded):
        asyncio.run(respond(engine, make_job(deadline_unix_s=time.time() + 0.2)))
    gate.open()


# A job's own error


def test_refused_before_it_starts(engine: DiffusionEngine) -> None:
    refusals = {
        "size": make_job(render_width_px=33),
        "scheduler": make_job(scheduler="nonsense"),
        "steps": make_job(scheduler="lcm", steps=51),
        "strength": make_job(ImageEditJob, image=random_picture(), strength=0.1),
        "model": make_job(PoseControlJob, image=random_picture(), controlnet_scale=1.0),
        "prompt": make_job(prompt="house " * 226),
        "negative_prompt": make_job(negative_prompt="house " * 226),
    }
    for param, job in refusals.items():
        with pytest.raises(JobError) as refusal:
            asyncio.run(respond(engine, job))
        assert refusal.value.param == param
        assert isinstance(refusal.value, PromptTooLong) == ("prompt" in param)


def test_a_job_that_never_fits_is_refused(build_engine: Build) -> None:
    engine = build_engine(budget=16 * 16)
    with pytest.raises(JobTooLarge) as refusal:
        asyncio.run(respond(engine, make_job(render_width_px=48)))
    draw(engine, make_job())
    assert refusal.value.param == "size"


class BreakingScheduler:
    """A scheduler that raises at its third step."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._steps = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    def step(self, *arguments: Any, **named: Any) -> Any:
        self._steps += 1
        if self._steps == 3:
            raise ArithmeticError("the third step")
        return self._scheduler.step(*arguments, **named)


class BrokenHeun(Components):
    def scheduler(self, name: str) -> Any:
        scheduler = super().scheduler(name)
        return BreakingScheduler(scheduler) if name == "heun" else scheduler


def test_a_job_that_breaks_its_scheduler_ends_alone(checkpoint: Any, components: Components) -> None:
    broken = BrokenHeun(components.text_to_image, components.controlnet)
    engine = DiffusionEngine(checkpoint, load=lambda *_: broken)
    bad, good = make_job(scheduler="heun", steps=8), make_job(steps=8)

    async def both() -> Any:
        return await asyncio.gather(respond(engine, bad), respond(engine, good), return_exceptions=True)

    failed, finished = asyncio.run(both())
    assert isinstance(failed, GenerationFailed)
    assert isinstance(finished, PipelineResponse)
    assert engine.stats.failed == 1
    engine.close()


def test_a_job_that_breaks_the_forward_pass_ends_alone(build_engine: Build, components: Components) -> None:
    def refuse_the_first_timestep(_: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        if bool((arguments[1] == 999).any()):
            raise ValueError("timestep 999")

    components.unet.register_forward_pre_hook(refuse_the_first_timestep)
    engine = build_engine()
    bad, good = make_job(), make_job(ImageEditJob, image=random_picture(), strength=0.5)

    async def both() -> Any:
        return await asyncio.gather(respond(engine, bad), respond(engine, good), return_exceptions=True)

    failed, finished = asyncio.run(both())
    assert isinstance(failed, GenerationFailed)
    assert isinstance(finished, PipelineResponse)


# Not a number


def test_a_picture_that_is_not_finite_is_decoded_again(build_engine: Build, components: Components) -> None:
    decodes = []

    def first_is_nan(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
        decodes.append(len(output))
        return output * torch.nan if len(decodes) == 1 else output

    expected = draw(build_engine(), make_job())[0]
    components.vae.decoder.register_forward_hook(first_is_nan)
    engine = build_engine()
    assert largest_difference(draw(engine, make_job())[0], expected) <= 1
    assert engine.stats.nan_retries == 1
    assert engine.stats.finished == 1


def test_the_second_decode_of_a_sixteen_bit_vae_is_in_fp32(build_engine: Build, components: Components) -> None:
    components.vae.to(torch.bfloat16)
    dtypes = []

    def first_is_nan(decoder: Any, _: Any, output: torch.Tensor) -> torch.Tensor:
        dtypes.append(next(decoder.parameters()).dtype)
        return output * torch.nan if len(dtypes) == 1 else output

    components.vae.decoder.register_forward_hook(first_is_nan)
    draw(build_engine(), make_job())
    assert dtypes == [torch.bfloat16, torch.float32]
    assert components.vae.dtype == torch.bfloat16


def test_a_picture_that_stays_not_finite_is_an_error(build_engine: Build, components: Components) -> None:
    poison = components.vae.decoder.register_forward_hook(lambda _, __, output: output * torch.nan)
    engine = build_engine()
    with pytest.raises(GenerationFailed):
        draw(engine, make_job())
    poison.remove()
    draw(engine, make_job())


# Out of memory


def test_out_of_memory_halves_the_budget_and_goes_on(build_engine: Build, components: Components) -> None:
    expected = [draw(build_engine(), make_job(seeds=(seed,)))[0] for seed in range(3)]

    def room_for_three_rows(_: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        if len(arguments[0]) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    components.unet.register_forward_pre_hook(room_for_three_rows)
    engine = build_engine(budget=8 * 16 * 16)
    pictures = draw(engine, make_job(seeds=(0, 1, 2)))
    assert all(largest_difference(*pair) <= 1 for pair in zip(pictures, expected, strict=True))
    assert engine.stats.out_of_memory == 1
    assert engine.stats.budget == 3 * 16 * 16


def test_a_halved_budget_grows_again(build_engine: Build, components: Components) -> None:
    def no_room_once(_: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        if len(arguments[0]) > 3:
            out_of_memory.remove()
            raise torch.OutOfMemoryError("CUDA out of memory")

    out_of_memory = components.unet.register_forward_pre_hook(no_room_once)
    full = 8 * 16 * 16
    engine = build_engine(budget=full)
    draw(engine, make_job(seeds=(0, 1, 2)))
    assert engine.stats.budget == 3 * 16 * 16
    draw(engine, make_job(steps=2 * GROWTH_TICKS))
    assert engine.stats.budget == full


def test_a_warm_up_without_memory_for_the_budget_lowers_it(build_engine: Build, components: Components) -> None:
    def room_for_three_rows(_: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        if len(arguments[0]) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")

    components.unet.register_forward_pre_hook(room_for_three_rows)
    engine = build_engine(budget=8 * 16 * 16, warm_up_sizes=((32, 32),))
    engine.warm_up()
    assert engine.stats.budget == 2 * 16 * 16
    draw(engine, make_job(seeds=(0, 1)))
    assert engine.stats.out_of_memory == 0


def test_a_decode_without_memory_is_tried_again(build_engine: Build, components: Components) -> None:
    expected = draw(build_engine(), make_job())[0]
    decodes = []

    def no_room_at_first(_: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        decodes.append(len(arguments[0]))
        if len(decodes) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    components.vae.decoder.register_forward_pre_hook(no_room_at_first)
    engine = build_engine()
    assert largest_difference(draw(engine, make_job())[0], expected) <= 1
    assert decodes == [1, 1]
    assert engine.stats.out_of_memory == 1


@pytest.mark.parametrize(("decoder", "tries"), [(None, 2), ("preview", 1)])
def test_a_preview_that_can_not_be_drawn_ends_no_job(
    checkpoint: CheckpointConfig, checkpoint_folder: Path, decoder: str | None, tries: int
) -> None:
    loaded = load_components(checkpoint, decoder and str(checkpoint_folder / decoder))
    engine = DiffusionEngine(checkpoint, load=lambda *_: loaded)
    calls = []

    def no_room_for_the_first(*_: Any) -> None:
        calls.append(1)
        if len(calls) <= tries:
            raise torch.OutOfMemoryError("CUDA out of memory")

    (loaded.preview_vae or loaded.vae).decoder.register_forward_pre_hook(no_room_for_the_first)
    events = asyncio.run(events_of(engine, make_job(steps=6, previews=2)))
    assert [event.index for event in events if isinstance(event, Preview)] == [1]
    assert isinstance(events[-1], Done)
    engine.close()


def test_no_memory_for_one_row_is_that_jobs_error(build_engine: Build, components: Components) -> None:
    def no_room_for_large_ones(_: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        if arguments[0].shape[-1] > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")

    components.unet.register_forward_pre_hook(no_room_for_large_ones)
    engine = build_engine()
    with pytest.raises(GenerationFailed):
        draw(engine, make_job(render_width_px=48, render_height_px=48))
    draw(engine, make_job())
    engine.check_health()


# The device, the replica


def test_a_broken_device_ends_every_job_and_the_health(build_engine: Build, components: Components) -> None:
    gate = Gate(components.unet)

    def break_down(*_: Any) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    components.unet.register_forward_pre_hook(break_down)
    engine = build_engine(budget=2 * 16 * 16)

    async def three() -> list[Any]:
        tasks = [asyncio.create_task(respond(engine, make_job())) for _ in range(3)]
        await gate.wait_until_reached()
        gate.open()
        return await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(error) for error in asyncio.run(three())] == [ReplicaUnfit] * 3
    with pytest.raises(ReplicaUnfit):
        engine.check_health()
    with pytest.raises(ReplicaUnfit):
        draw(engine, make_job())


def test_a_silent_engine_is_not_healthy(build_engine: Build, components: Components) -> None:
    gate = Gate(components.unet)
    engine = build_engine(heartbeat_timeout_s=0.2)

    async def hang() -> None:
        engine.check_health()
        task = asyncio.create_task(respond(engine, make_job()))
        await gate.wait_until_reached()
        await asyncio.sleep(0.3)
        with pytest.raises(ReplicaUnfit):
            engine.check_health()
        gate.open()
        await task

    asyncio.run(hang())


def test_an_idle_engine_stays_healthy(build_engine: Build) -> None:
    engine = build_engine(heartbeat_timeout_s=2 * IDLE_HEARTBEAT_S)
    draw(engine, make_job())
    time.sleep(3 * IDLE_HEARTBEAT_S)
    engine.check_health()


def test_drain_finishes_what_has_begun_and_refuses_the_rest(build_engine: Build, components: Components) -> None:
    gate = Gate(components.unet)
    engine = build_engine()

    async def drain() -> tuple[list[Event], Any]:
        task = asyncio.create_task(events_of(engine, make_job()))
        await gate.wait_until_reached()
        draining = asyncio.create_task(asyncio.to_thread(engine.close, grace_s=10))
        await asyncio.sleep(0.01)
        refused = await asyncio.gather(respond(engine, make_job()), return_exceptions=True)
        gate.open()
        await draining
        return await task, refused[0]

    events, refused = asyncio.run(drain())
    assert isinstance(events[-1], Done)
    assert isinstance(refused, ReplicaUnfit)


def test_drain_ends_what_takes_longer_than_the_grace(build_engine: Build) -> None:
    engine = build_engine()

    async def drain() -> None:
        task = asyncio.create_task(respond(engine, make_job(steps=1000)))
        await wait_until(lambda: engine.stats.ticks > 0)
        await asyncio.to_thread(engine.close, grace_s=0.1)
        with pytest.raises(ReplicaUnfit):
            await task

    asyncio.run(drain())
