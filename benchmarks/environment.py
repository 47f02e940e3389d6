"""What the service's environment variables do: seconds a picture under several, alone and beside a second process.

python -m benchmarks.environment [--rounds 3]

diffusers' pipeline draws, at the steps that demo.yaml draws by default; each row is two processes of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from benchmarks.embedded import CHECKPOINT, draw_with_diffusers
from benchmarks.report import report
from deployments.diffusion.components import load_components
from serve_app.environment import service_environment

STEPS = 12

Drawer: TypeAlias = "subprocess.Popen[str]"


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
        with _process({**inherited, **variables}, sizes, rounds) as first:
            alone = _seconds(first)
            with _process({**inherited, **variables}, sizes, rounds) as second:
                beside, _ = _seconds(first, second)
        for title, seconds in (("alone", alone[0]), ("beside another", beside)):
            row |= {f"{size} px, {title}, s": of_size for size, of_size in zip(sizes, seconds, strict=True)}
        rows.append(row)
    report("environment", rows, {"steps": STEPS, "rounds": rounds})


@contextmanager
def _process(environment: dict[str, str], sizes: list[int], rounds: int) -> Iterator[Drawer]:
    """A process that draws whenever it is told to."""
    command = [sys.executable, "-m", "benchmarks.environment", "--draw", "--rounds", str(rounds)]
    command += ["--sizes", *map(str, sizes)]
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, env=environment, text=True, stdin=pipe, stdout=pipe, stderr=nothing) as process:
        _answer(process)  # it is ready
        yield process
        process.communicate()


def _seconds(*drawers: Drawer) -> list[list[float]]:
    """Seconds a picture of each size, for each of the processes, which draw at the same time."""
    for drawer in drawers:
        assert drawer.stdin is not None
        drawer.stdin.write("\n")
        drawer.stdin.flush()
    return [_answer(drawer) for drawer in drawers]


def _answer(drawer: Drawer) -> list[float]:
    assert drawer.stdout is not None
    seconds: list[float] = json.loads(drawer.stdout.readline())
    return seconds


def _draw(sizes: list[int], rounds: int) -> None:
    """Says when it is ready, then draws for each line that comes, and says how long a picture of each size took."""
    components = load_components(CHECKPOINT)
    print("[]", flush=True)
    for _ in sys.stdin:
        medians = []
        for size in sizes:
            seconds = []
            for _ in range(rounds + 1):
                started_s = time.monotonic()
                draw_with_diffusers(components, size, STEPS, [0])
                seconds.append(time.monotonic() - started_s)
            medians.append(statistics.median(seconds[1:]))
        print(json.dumps(medians), flush=True)


if __name__ == "__main__":
    main()
