"""SDXL at its true size with random weights on a GPU, in ten stages.

python -m benchmarks.gpu --out DIR [--seconds 530] [--stages NAME[:PART,PART] …] [--kept DIR] [--tiny]

DIR/stages.json is written anew whenever a part of a stage has ended, DIR/summary.json and a table at the end. Nothing
is written elsewhere but in a temporary folder. `--kept` is the DIR of an earlier run on the same kind of machine:
what that one compiled is not compiled again. `--tiny` runs all stages on the CPU with tiny models, to see that they
work; its seconds mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks.gpu.kept import take_caches
from benchmarks.gpu.runner import Runner
from benchmarks.gpu.stages import BY_NAME, STAGES
from benchmarks.gpu.summary import summarize


def main() -> int:
    """Returns the exit status: 1 where something failed or was not run for lack of time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for what is found")
    parser.add_argument("--seconds", type=float, default=530, help="for all stages together")
    parser.add_argument("--stages", nargs="+", default=list(BY_NAME), metavar="NAME[:PART,PART]", help="all without it")
    parser.add_argument("--kept", type=Path, help="the --out of an earlier run")
    parser.add_argument("--tiny", action="store_true", help="tiny models on the CPU")
    options = parser.parse_args()
    only = {
        name: tuple(filter(None, parts.split(","))) for name, _, parts in (s.partition(":") for s in options.stages)
    }
    if unknown := set(only) - set(BY_NAME):
        parser.error(f"unknown stages: {', '.join(sorted(unknown))}; there are {', '.join(BY_NAME)}")
    chosen = [stage for stage in STAGES if stage.name in only]
    if options.tiny:
        os.environ["OMP_NUM_THREADS"] = "1"  # the work is too small to share
        chosen = [stage._replace(seconds=0) for stage in chosen]
    options.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # such as from `timeout`: what runs is ended all the same
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        for name, below in {"HF_HOME": "hub", "CUDA_CACHE_PATH": "cuda", "XDG_CACHE_HOME": "cache"}.items():
            os.environ[name] = str(work / below)
        if options.kept:
            take_caches(options.kept, work / "engine")
        with Runner(options.out, work, options.seconds, options.tiny) as runner:
            try:
                runner.run(chosen, only)
            finally:
                figures = summarize(runner.stages)
                (options.out / "summary.json").write_text(json.dumps(figures, indent=1) + "\n")
        for name, figure in figures.items():
            print(f"{name:60}{figure:.4g}" if isinstance(figure, float) else f"{name:60}{figure}")
        return int(any(_failed(record) for record in runner.stages.values()))


def _failed(record: dict[str, object]) -> bool:
    parts = record["parts"]
    assert isinstance(parts, dict)
    return "skipped" in record or any("error" in part for part in parts.values())


if __name__ == "__main__":
    sys.exit(main())
