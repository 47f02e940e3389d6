"""Tables on the terminal and JSON beside it, naming the machine, the commit and the command."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

RESULTS = Path("benchmarks") / "results"  # the commands run in the repository's root


def report(name: str, rows: Sequence[Mapping[str, Any]], notes: Mapping[str, Any] | None = None) -> None:
    """Prints `rows` as a table and writes them with `notes` to results/`name`.json."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [columns, *([_text(row.get(column, "")) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    for key, value in (notes or {}).items():
        print(f"{key}: {_text(value)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    about = {"command": _command(), "commit": _commit(), "when": _now(), "machine": _machine()}
    file = RESULTS / f"{name}.json"
    file.write_text(json.dumps({**about, "notes": notes or {}, "rows": rows}, indent=1) + "\n")


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _command() -> str:
    """As it was typed, without the paths of this machine."""
    words = ["PATH" if word.startswith("/") else word for word in sys.argv[1:]]
    return f"python -m benchmarks.{Path(sys.argv[0]).stem} {shlex.join(words)}".strip()


def _commit() -> str:
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return git.stdout.strip() or "unknown"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="minutes")


def _machine() -> dict[str, Any]:
    machine: dict[str, Any] = {"cpu": _cpu(), "cores": os.cpu_count(), "torch": torch.__version__}
    machine["load_average"] = os.getloadavg()[0]
    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    return machine


def _cpu() -> str:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return models[0].split(": ")[1] if models else platform.processor()
