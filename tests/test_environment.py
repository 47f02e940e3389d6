"""How many threads the engines get where the machine's cores are not all ours."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from serve_app.environment import service_environment

AFFINITY = os.sched_getaffinity(0)


@pytest.fixture
def one_core() -> Iterator[None]:
    os.sched_setaffinity(0, {min(AFFINITY)})
    yield
    os.sched_setaffinity(0, AFFINITY)


@pytest.mark.usefixtures("one_core")
def test_an_engine_has_a_thread_even_where_there_are_fewer_cores() -> None:
    assert service_environment(models=1)["OMP_NUM_THREADS"] == "1"
