"""Passes of few row counts: how rows are cut into them, and what the warm-up does for them."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deployments.diffusion.acceleration.row_buckets import passes
from deployments.diffusion.engine import DiffusionEngine
from tests.deployments.diffusion.conftest import draw, largest_difference, make_job

CPU = torch.device("cpu")
Build = Callable[..., DiffusionEngine]


@given(
    rows=st.integers(1, 40),
    most=st.integers(1, 24),
    buckets=st.lists(st.integers(1, 16), unique=True, max_size=5),
    seed=st.integers(0, 9),
)
def test_passes_hold_all_rows_and_no_more_than_fits(rows: int, most: int, buckets: list[int], seed: int) -> None:
    seconds = {bucket: random.Random(seed + bucket).random() + 0.1 for bucket in buckets}
    cut = passes(rows, most, buckets, seconds)
    assert sum(count for count, _ in cut) == rows
    assert all(0 < count <= padded for count, padded in cut)
    assert all(padded in (buckets or [count]) for count, padded in cut)
    assert all(padded <= max(most, min(buckets, default=0)) for _, padded in cut)


@pytest.mark.parametrize(
    ("rows", "seconds", "expected"),
    [
        (10, None, [(8, 8), (2, 2)]),  # a bucket of 16 would be six rows for nothing
        (7, None, [(7, 8)]),  # as little is padded in one pass as in three
        (10, {2: 9, 4: 10, 8: 11, 16: 12}, [(10, 16)]),  # small pictures: each pass costs more than its rows
        (10, {2: 2, 4: 4, 8: 8, 16: 15}, [(8, 8), (2, 2)]),
        (16, {2: 2, 4: 4, 8: 8, 16: 15}, [(16, 16)]),
    ],
)
def test_rows_are_cut_into_the_passes_that_are_fastest_together(
    rows: int, seconds: dict[int, float] | None, expected: list[tuple[int, int]]
) -> None:
    assert passes(rows, 16, (2, 4, 8, 16), seconds) == expected


def test_padded_passes_draw_the_same_and_are_counted(build_engine: Build, engine: DiffusionEngine) -> None:
    padded = build_engine(budget=16 * 16 * 16, row_buckets=(4, 16), warm_up_sizes=((32, 32),))
    padded.warm_up()
    assert padded.stats.padded_rows == padded.stats.unrehearsed == 0
    assert largest_difference(draw(padded, make_job())[0], draw(engine, make_job())[0]) <= 1
    assert padded.stats.padded_rows == 2 * 4  # two rows more in each of four steps
    assert padded.stats.unrehearsed == 0
    draw(padded, make_job(render_width_px=48, steps=2))
    assert padded.stats.unrehearsed == 1


def test_a_warm_up_measures_the_passes_of_every_bucket(build_engine: Build) -> None:
    engine = build_engine(budget=8 * 16 * 16, row_buckets=(2, 8, 16), warm_up_sizes=((32, 32), (64, 32)))
    engine.warm_up()
    measured = engine._ticker._denoiser.pass_seconds
    assert {size: set(seconds) for size, seconds in measured.items()} == {(16, 16): {2, 8}, (16, 32): {2}}
    assert all(value > 0 for seconds in measured.values() for value in seconds.values())
