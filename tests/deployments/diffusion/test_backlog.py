"""The order of jobs: budget, fairness, overtaking."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.diffusion.backlog import Backlog
from deployments.diffusion.trajectory import Shape
from deployments.errors import ReplicaUnfit

SMALL, LARGE = Shape(16, 16, 1), Shape(32, 32, 1)


@dataclass(eq=False)
class FakeTrajectory:
    steps: int
    rows: int
    shape: Shape
    step_index: int = 0

    @property
    def finished(self) -> bool:
        return self.step_index == self.steps

    @property
    def cost(self) -> int:
        return self.rows * self.shape.pixels


@dataclass(eq=False)
class FakeJob:
    seeds: tuple[int, ...]


@dataclass(eq=False)
class FakeRequest:
    submitted_s: float
    trajectory: FakeTrajectory
    deadline_s: float
    job: FakeJob


def request(
    submitted_s: float, steps: int = 10, rows: int = 2, shape: Shape = SMALL, deadline_s: float = math.inf
) -> Any:
    return FakeRequest(submitted_s, FakeTrajectory(steps, rows, shape), deadline_s, FakeJob(tuple(range(rows // 2))))


def backlog_of(*requests: Any, overtaking: float = 4, seconds_per_row: float = 1) -> Backlog:
    backlog = Backlog(overtaking)
    backlog.measured(SMALL.pixels, seconds_per_row)
    for each in requests:
        backlog.add(each)
    return backlog


def run_to_the_end(backlog: Backlog, budget: int) -> list[Any]:
    """The requests in the order in which they finish."""
    finished = []
    while chosen := backlog.select(budget):
        for each in chosen:
            each.trajectory.step_index += 1
            if each.trajectory.step_index == each.trajectory.steps:
                backlog.remove(each)
                finished.append(each)
    return finished


def test_equal_jobs_are_served_in_the_order_they_came() -> None:
    requests = [request(submitted_s) for submitted_s in (0, 1, 2)]
    assert run_to_the_end(backlog_of(*reversed(requests)), SMALL.pixels * 2) == requests


def test_jobs_of_one_shape_share_a_pass_up_to_the_budget() -> None:
    first, second, third = (request(submitted_s) for submitted_s in (0, 1, 2))
    other = request(0.5, shape=LARGE)
    assert backlog_of(first, second, third, other).select(4 * SMALL.pixels) == [first, second]


def test_a_job_larger_than_the_budget_runs_alone() -> None:
    large, small = request(0, steps=1, rows=20), request(1)
    assert backlog_of(large, small, overtaking=0).select(4 * SMALL.pixels) == [large]


def test_a_long_job_is_not_overtaken_when_it_would_miss_its_deadline() -> None:
    """100 s of work by second 300, while every 10 s another job of 8 s comes."""
    long = request(0, steps=50, deadline_s=300)
    backlog = backlog_of(long)
    now_s, next_s, done_s = 0.0, 0.0, 0.0
    while not done_s and now_s < 1000:
        while next_s <= now_s:
            backlog.add(request(next_s, steps=4, deadline_s=next_s + 300))
            next_s += 10
        for each in backlog.select(2 * SMALL.pixels):
            each.trajectory.step_index += 1
            now_s += 2
            if each.trajectory.step_index == each.trajectory.steps:
                backlog.remove(each)
                done_s = now_s if each is long else 0.0
    assert 200 < done_s < 300


def test_a_job_that_can_not_be_done_in_time_overtakes_none_before_it() -> None:
    first, hopeless = request(0), request(1, steps=1000, deadline_s=100)
    assert backlog_of(first, hopeless, overtaking=0).select(2 * SMALL.pixels) == [first]


def test_a_short_job_overtakes_a_long_one_that_has_begun() -> None:
    long, short = request(0, steps=30), request(20, steps=4)
    long.trajectory.step_index = 3
    assert run_to_the_end(backlog_of(long, short), 2 * SMALL.pixels) == [short, long]


def test_overtaking_is_bounded_by_the_difference_of_work() -> None:
    long = request(0, steps=30, rows=1)
    in_time, late = request(4 * 26 - 1, steps=4, rows=1), request(4 * 26 + 1, steps=4, rows=1)
    assert run_to_the_end(backlog_of(long, late, in_time), SMALL.pixels) == [in_time, long, late]


@given(arrivals=st.lists(st.floats(0, 1000), min_size=1, max_size=30), steps=st.integers(1, 50))
def test_no_shape_starves(arrivals: list[float], steps: int) -> None:
    """Whatever comes later than `overtaking` x the job's work is served after it."""
    large = request(0, steps=steps, shape=LARGE)
    work_s = large.trajectory.cost * steps / SMALL.pixels
    small = [request(arrival_s, steps=1) for arrival_s in arrivals]
    order = run_to_the_end(backlog_of(large, *small), SMALL.pixels)
    assert all(each.submitted_s <= 4 * work_s for each in order[: order.index(large)])


def test_position_counts_the_jobs_before() -> None:
    backlog = backlog_of(request(0), request(1))
    assert backlog.add(request(2)) == 2
    assert backlog.add(request(2, steps=1)) == 0


def test_a_closed_backlog_takes_no_job() -> None:
    backlog = backlog_of()
    backlog.close("shutting down")
    with pytest.raises(ReplicaUnfit, match="shutting down"):
        backlog.add(request(0))


def test_what_is_drawn_is_decoded_in_small_batches_of_one_shape_and_steps_no_more() -> None:
    done = [request(0, steps=0), request(1, steps=0), request(2, steps=0, rows=6), request(3, steps=0, shape=LARGE)]
    undone = request(4)
    backlog = backlog_of(*done, undone)
    assert backlog.select(budget=100 * SMALL.pixels) == [undone]
    batches = []
    while batch := backlog.drawn(pictures=2):
        batches.append(batch)
        for each in batch:
            backlog.remove(each)
    assert batches == [done[:2], [done[2]], [done[3]]]
