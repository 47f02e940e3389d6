"""How many cores are ours, and how many threads write files on them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deployments.cores import encoder_threads, usable_cores

AFFINITY = os.sched_getaffinity(0)


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


def test_the_affinity_limits_the_cores(tmp_path: Path) -> None:
    os.sched_setaffinity(0, {min(AFFINITY)})
    try:
        assert usable_cores(tmp_path / "none") == 1
    finally:
        os.sched_setaffinity(0, AFFINITY)


@pytest.mark.parametrize(("cores", "threads"), [(1, 2), (2, 2), (4, 2), (6, 3), (8, 4), (16, 8), (128, 8)])
def test_files_are_written_on_half_the_cores(cores: int, threads: int) -> None:
    assert encoder_threads(cores) == threads
