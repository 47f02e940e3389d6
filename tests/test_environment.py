"""How many threads the engines get where the machine's cores are not all ours."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from deployments.cores import usable_cores
from serve_app.environment import service_environment

AFFINITY = os.sched_getaffinity(0)


@pytest.fixture
def one_core() -> Iterator[None]:
    os.sched_setaffinity(0, {min(AFFINITY)})
    yield
    os.sched_setaffinity(0, AFFINITY)


@pytest.mark.usefixtures("one_core")
def test_an_engine_has_a_thread_even_where_there_are_fewer_cores() -> None:
    assert service_environment(engines=1)["OMP_NUM_THREADS"] == "1"


def test_engines_share_the_cores_but_one() -> None:
    threads = [int(service_environment(engines)["OMP_NUM_THREADS"]) for engines in (1, 3, 1000)]
    assert threads == [max(1, usable_cores() - 1), max(1, (usable_cores() - 1) // 3), 1]
