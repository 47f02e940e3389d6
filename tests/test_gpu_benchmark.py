"""The GPU's benchmark: all its stages with tiny models on the CPU, and what its runner does with bad ones."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.gpu.host import END, Message, Order, run_parts
from benchmarks.gpu.parts import Part, SkippedPart
from benchmarks.gpu.runner import Runner, limit_s
from benchmarks.gpu.stages import STAGES, Stage

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 900
"""Several times what it takes on two cores that have nothing else to do."""

ONLY_ON_A_GPU = {
    "throughput": {"waits": ["a tick"], "memory": ["peak of most rows"]},
    "machine": {"card": ["name"]},
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a whole run writes down, and that it writes nowhere else."""
    out, home, elsewhere = (tmp_path_factory.mktemp(name) for name in ("out", "home", "elsewhere"))
    words = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--seconds", str(TIMEOUT_S - 60), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("HF_HOME", "TORCHINDUCTOR_CACHE_DIR", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    ended = subprocess.run(words, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]
    assert not [path for folder in (home, elsewhere) for path in folder.iterdir()]
    written = {path.name: path for path in out.iterdir()}
    assert len(written) <= 8
    stages = json.loads(written["stages.json"].read_text())
    return {"stages": stages, "summary": json.loads(written["summary.json"].read_text()), "files": list(written)}


def test_all_ten_stages_end_without_an_error(found: dict[str, Any]) -> None:
    assert list(found["stages"]) == [stage.name for stage in STAGES]
    assert len(found["stages"]) == 10
    skipped = {}
    for name, stage in found["stages"].items():
        assert stage["parts"], name
        for part, said in stage["parts"].items():
            assert "error" not in said, (name, part, said)
            if "skipped" in said:
                skipped[name, part] = said["skipped"]
    assert set(skipped) == {("ceilings", "attention"), ("graphs", "eight_bits")}, skipped


def test_figures_that_a_cpu_has_are_finite_and_positive(found: dict[str, Any]) -> None:
    for stage, parts in found["stages"].items():
        for part, said in parts["parts"].items():
            for name, figure in _figures(said.get("figures", {})):
                assert math.isfinite(figure), (stage, part, name)
                assert figure > 0, (stage, part, name)
    for stage, parts in ONLY_ON_A_GPU.items():
        for part, names in parts.items():
            figures = found["stages"][stage]["parts"][part]["figures"]
            assert all(figures[name] is None for name in names)


def test_what_the_run_found_is_right(found: dict[str, Any]) -> None:
    summary = found["summary"]
    own = summary["error of latents: diffusers in 16 bits"]
    for engine in ("eager", "compiled", "compiled, in full passes"):
        assert summary[f"error of latents: engine, {engine}"] < 1.5 * own
    assert summary["recompiles after the warm-up"] == 0
    assert summary["out of memory while serving: all drawn"] is True
    again = found["stages"]["start"]["parts"]["again"]["figures"]
    assert again["graphs compiled"] == 0
    assert again["graphs from the caches"] > 4
    assert any(name.startswith("compiled-") and name.endswith(".z0") for name in found["files"])


def _figures(said: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """All floating-point numbers, with the names that lead to them."""
    if isinstance(said, float):
        yield name, said
    for key, value in said.items() if isinstance(said, dict) else ():
        yield from _figures(value, f"{name} {key}")


def fails(_: Any) -> dict[str, Any]:
    raise ValueError("as it does")


def works(_: Any) -> dict[str, Any]:
    return {"figure": 1.5}


def has_nothing_to_do(_: Any) -> dict[str, Any]:
    raise SkippedPart("no GPU")


def test_a_part_that_fails_is_reported_and_the_next_one_runs() -> None:
    said: list[Message] = []
    bench: Any = SimpleNamespace(tiny=False, left_s=10.0, synchronize=lambda: None)
    parts = [Part(fails, 1), Part(has_nothing_to_do, 1), Part(works, 20), Part(works, 1)]
    run_parts(said.append, bench, parts, Order("stage", (), (), 10))
    assert [each.part for each in said] == ["fails"] * 2 + ["has_nothing_to_do"] * 2 + ["works"] * 3
    assert "Traceback" in (said[1].error or "")
    assert "ValueError: as it does" in (said[1].error or "")
    assert said[3].skipped == "no GPU"
    assert said[4].skipped == "it needs 20 s; 10 s are left"
    assert said[6].figures == {"figure": 1.5}


def scripted_host(pipe: Connection, out: Path, work: Path, tiny: bool) -> None:
    """Does what the stages' names say."""
    while True:
        try:
            order: Order = pipe.recv()
        except EOFError:
            return
        for part in ("first", "second"):
            if part in order.after:
                continue
            pipe.send(Message(part))
            if part == "first" and order.stage == "hangs":
                time.sleep(600)
            if part == "first" and order.stage == "dies":
                os._exit(3)
            pipe.send(Message(part, {"process": os.getpid()}))
        pipe.send(END)


def _stage(name: str, seconds: float = 0.5, process: str = "one") -> Stage:
    return Stage(name, seconds, process, "a question")


def _run(folder: Path, seconds: float, *stages: Stage) -> dict[str, Any]:
    with Runner(folder, folder / "work", seconds, target=scripted_host) as runner:
        runner.run(stages)
    written: dict[str, Any] = json.loads((folder / "stages.json").read_text())
    assert written == runner.stages
    return written


def test_a_stage_that_hangs_is_ended_and_the_next_one_runs(tmp_path: Path) -> None:
    found = _run(tmp_path, 30.0, _stage("hangs", 8), _stage("works", 10))
    assert "ended from outside" in found["hangs"]["parts"]["first"]["error"]
    assert found["works"]["parts"]["second"]["figures"]["process"] > 0


def test_a_process_that_dies_is_replaced_for_the_parts_that_are_left(tmp_path: Path) -> None:
    found = _run(tmp_path, 60.0, _stage("dies"))
    assert found["dies"]["parts"]["first"] == {"error": "the process ended, with status 3"}
    assert found["dies"]["parts"]["second"]["figures"]["process"] > 0


def test_stages_share_a_process_where_they_name_the_same(tmp_path: Path) -> None:
    found = _run(tmp_path, 60.0, _stage("one"), _stage("two"), _stage("three", process="another"))
    one, two, three = (found[name]["parts"]["first"]["figures"]["process"] for name in ("one", "two", "three"))
    assert one == two
    assert two != three


def test_a_stage_without_budget_left_is_skipped_and_says_so(tmp_path: Path) -> None:
    found = _run(tmp_path, 60.0, _stage("long", 3600), _stage("short"))
    assert found["long"]["skipped"].startswith("it needs 3600 s; ")
    assert found["long"]["parts"] == {}
    assert "skipped" not in found["short"]


def test_a_stage_gets_what_later_ones_do_not_need_or_more_where_it_says_so() -> None:
    later = [_stage("next", 30), _stage("last", 20)]
    assert limit_s(_stage("first", 10), later, 100) == 45
    assert limit_s(_stage("first", 10), later, 55) == 10
    assert limit_s(_stage("first", 10)._replace(most=80), later, 100) == 80
    assert limit_s(_stage("first", 10)._replace(most=80), later, 60) == 60
