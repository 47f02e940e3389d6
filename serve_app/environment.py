"""Environment variables for Ray's processes. OpenMP and glibc read theirs when a process starts, and only then."""

from __future__ import annotations

from deployments.cores import usable_cores


def service_environment(engines: int) -> dict[str, str]:
    """What a service with so many engines runs under where nothing else is set; see benchmarks/README.md."""
    threads = max(
        1, (usable_cores() - 1) // max(1, engines)
    )  # one core for the proxy, the ingress and what writes pictures
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
