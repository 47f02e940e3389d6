"""The cores of the machine that this process may use, and what follows from their number."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
"""A container's share of the machine's cores (cgroup v2): microseconds of each period, or `max`, and the period."""


def usable_cores(cpu_max: Path = _CGROUP_CPU_MAX) -> int:
    """Cores that this process may use: those of its affinity, and no more than its container's quota; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cpu_max.read_text(encoding="ascii").split()
        cores = min(cores, int(quota) // int(period))
    except (OSError, ValueError):  # no such group, or no limit
        pass
    return max(1, cores)


def encoder_threads(cores: int) -> int:
    """Threads that write files: half the cores, 2 to 8. With 2, a slow file does not hold up the others."""
    return min(8, max(2, cores // 2))
