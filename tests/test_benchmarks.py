"""The benchmarks' commands at their smallest: that they run and say what they promise. Nothing here is a timing."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SMALLEST = {  # the fourth job of the first trace is the first short one
    "engine_uniform": "--size 256 --steps 2 --pictures 2 --rounds 1",
    "engine_mixed": "--jobs 5 --rounds 1",
    "service": "--pictures 4 --rounds 1 --clients 2 --environments own",
    "environment": "--sizes 256 --rounds 1",
    "encoding": "--sizes 256 --rounds 1",
    "demo": "--rounds 1 --pictures 3 --clients 3 --systems one two",
    "memory": "--edge 256",
}


@pytest.mark.parametrize("command", SMALLEST)
def test_a_benchmark_runs_at_its_smallest(command: str, tmp_path: Path) -> None:
    for name in ("demo.yaml", "deployments"):
        (tmp_path / name).symlink_to(ROOT / name)
    words = [sys.executable, "-m", *f"benchmarks.{command} {SMALLEST[command]}".split()]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]

    (file,) = (tmp_path / "benchmarks" / "results").iterdir()
    result = json.loads(file.read_text())
    assert file.stem == command
    assert result["command"].startswith(f"python -m benchmarks.{command} ")
    assert len(result["rows"]) >= 2
    for row in result["rows"]:
        figures = [value for value in row.values() if isinstance(value, float)]
        assert figures, row
        assert all(math.isfinite(value) and value > 0 for value in figures), row


def test_every_benchmark_is_run_and_described() -> None:
    commands = {file.stem for file in (ROOT / "benchmarks").glob("*.py") if "def main" in file.read_text()}
    assert commands == {command.split()[0] for command in SMALLEST}
    described = (ROOT / "benchmarks" / "README.md").read_text()
    assert all(f"python -m benchmarks.{command}" in described for command in commands)
