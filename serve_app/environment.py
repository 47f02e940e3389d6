"""Environment variables for Ray's processes. OpenMP and glibc read theirs when a process starts, and only then."""

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


def service_environment(engines: int) -> dict[str, str]:
    """What a service with so many engines runs under where nothing else is set; see benchmarks/README.md."""
    threads = max(1, (usable_cores() - 1) // engines)  # one core for the proxy, the ingress and what writes pictures
    return {
        # Threads of a torch operation. With more of them than cores in all, each waits for one that is not running.
        # Ray would set the number to each replica's num_cpus, which is below 1.
        "OMP_NUM_THREADS": str(threads),
        # A thread that waits spins for some microseconds, and then leaves its core to others.
        "GOMP_SPINCOUNT": "1000",
        # glibc returns large blocks to the system, which then clears them page by page for the next layer. One heap
        # that keeps up to 1 GiB of what was freed spares a decode on a CPU a third to a half of its time.
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(2**30),
        # Ray gives its workers, engines among them, the priority of background work: a thirtieth of what its own
        # processes and every other program on the machine get.
        "RAY_worker_niceness": "0",
        # Serve's controller looks after its replicas ten times a second, which costs a fifth of a core.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "1",
        # A proxy that is not ready after three times this is killed, which a busy machine may take to start one.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }
