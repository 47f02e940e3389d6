"""What the service's environment variables do: seconds a picture under several, alone and beside a second process.

python -m benchmarks.environment [--rounds 3]

diffusers' pipeline draws, at the steps that demo.yaml draws by default; each row is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

from benchmarks.embedded import CHECKPOINT, draw_with_diffusers
from benchmarks.report import report
from deployments.diffusion.components import load_components
from serve_app.environment import service_environment

STEPS = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--draw", action="store_true", help=argparse.SUPPRESS)  # what the processes of a row do
    options = parser.parse_args()
    if options.draw:
        _draw(options.sizes, options.rounds)
    else:
        _compare(options.sizes, options.rounds)


def _compare(sizes: list[int], rounds: int) -> None:
    ours = service_environment(engines=1)
    heap = {name: value for name, value in ours.items() if name.startswith("MALLOC")}
    threads = {"OMP_NUM_THREADS": str(os.cpu_count())}
    variants = {
        "the service's": ours,
        "the service's, glibc's own heap": {name: value for name, value in ours.items() if name not in heap},
        "the service's heap, all cores, waiting asleep": heap | threads | {"OMP_WAIT_POLICY": "PASSIVE"},
        "torch's own": threads,
    }
    rows = []
    for name, variables in variants.items():
        inherited = {key: value for key, value in os.environ.items() if key not in ours and "OMP_" not in key}
        row: dict[str, object] = {"environment": name}
        for title, count in (("alone", 1), ("beside another", 2)):
            seconds = _seconds({**inherited, **variables}, count, sizes, rounds)
            row |= {f"{size} px, {title}, s": of_size for size, of_size in zip(sizes, seconds, strict=True)}
        rows.append(row)
    report("environment", rows, {"steps": STEPS, "rounds": rounds})


def _seconds(environment: dict[str, str], count: int, sizes: list[int], rounds: int) -> list[float]:
    """Seconds a picture of each size: the median of the first of `count` processes that draw at the same time."""
    command = [sys.executable, "-m", "benchmarks.environment", "--draw", "--rounds", str(rounds)]
    command += ["--sizes", *map(str, sizes)]
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for _ in range(count)
    ]
    said = [process.communicate()[0] for process in started]
    seconds: list[float] = json.loads(said[0])
    return seconds


def _draw(sizes: list[int], rounds: int) -> None:
    components = load_components(CHECKPOINT)
    medians = []
    for size in sizes:
        seconds = []
        for _ in range(rounds + 1):
            started_s = time.monotonic()
            draw_with_diffusers(components, size, STEPS, [0])
            seconds.append(time.monotonic() - started_s)
        medians.append(statistics.median(seconds[1:]))
    print(json.dumps(medians))


if __name__ == "__main__":
    main()
