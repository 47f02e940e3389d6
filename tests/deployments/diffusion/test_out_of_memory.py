"""A device without memory for a pass, a decode or a preview."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch

from deployments.config import CheckpointConfig
from deployments.contracts import Done, Preview
from deployments.diffusion.components import Components, load_components
from deployments.diffusion.engine import DiffusionEngine
from deployments.diffusion.ticker import GROWTH_TICKS
from deployments.errors import GenerationFailed
from tests.deployments.diffusion.conftest import (
    Build,
    draw,
    events_of,
    largest_difference,
    make_job,
)


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
