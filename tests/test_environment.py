"""How many threads the engines get where the machine's cores are not all ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve_app.environment import service_environment, usable_cores

AFFINITY = os.sched_getaffinity(0)


@pytest.fixture
def one_core() -> Iterator[None]:
    os.sched_setaffinity(0, {min(AFFINITY)})
    yield
    os.sched_setaffinity(0, AFFINITY)


@pytest.mark.parametrize(
    ("cpu_max", "cores"),
    [
        ("max 100000\n", len(AFFINITY)),
        (f"{len(AFFINITY) * 100000} 100000\n", len(AFFINITY)),
        ("100000 100000\n", 1),
        ("150000 100000\n", 1),
        ("5000 100000\n", 1),
        ("", len(AFFINITY)),
        (None, len(AFFINITY)),
    ],
)
def test_a_containers_quota_limits_the_cores(tmp_path: Path, cpu_max: str | None, cores: int) -> None:
    file = tmp_path / "cpu.max"
    if cpu_max is not None:
        file.write_text(cpu_max)
    assert usable_cores(file) == cores


@pytest.mark.usefixtures("one_core")
def test_the_affinity_limits_the_cores(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "none") == 1
    assert service_environment(engines=1)["OMP_NUM_THREADS"] == "1"


def test_engines_share_the_cores_but_one() -> None:
    threads = [int(service_environment(engines)["OMP_NUM_THREADS"]) for engines in (1, 3, 1000)]
    assert threads == [max(1, usable_cores() - 1), max(1, (usable_cores() - 1) // 3), 1]
