"""Runs stages within a budget of seconds, and writes down what each part of them found the moment it ends.

A hung call of CUDA, or of a compiler, ends with its process only. So stages run in child processes, which send what
they find through a pipe; this one, which never imports torch, writes it, and ends a child whose time is up. Weights
take seconds to build, but compiled graphs minutes: the stages that share them share a process, and only when that one
had to be ended does another build them again, with the kernels that were compiled already.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu import host
from benchmarks.gpu.child import Child
from benchmarks.gpu.stages import Stage

MARGIN_S = 5.0
"""For the end of a process, so that the next stage still has its seconds after one that took all that it may."""


class Runner:
    """Ends its children when it is left: `with Runner(...) as runner`."""

    def __init__(self, out: Path, work: Path, seconds: float, tiny: bool = False, target: Any = host.main) -> None:
        """`target`: what a child runs; tests have their own."""
        self.stages: dict[str, dict[str, Any]] = {}
        """What is known of each stage, as it is written to `out`/stages.json."""
        self._out, self._work, self._tiny, self._target = out, work, tiny, target
        self._started_s = time.monotonic()
        self._end_s = self._started_s + seconds
        self._child: Child | None = None

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.end()

    def run(self, stages: Sequence[Stage], only: Mapping[str, tuple[str, ...]] | None = None) -> None:
        """`only`: for a stage, the parts that are wanted; all where it says nothing."""
        for index, stage in enumerate(stages):
            left_s = self._end_s - time.monotonic()
            record = self.stages[stage.name] = {"answers": stage.answers, "seconds": 0.0, "parts": {}}
            if left_s < stage.seconds:
                record["skipped"] = f"it needs {stage.seconds:.0f} s; {left_s:.0f} s of the budget are left"
                self._say(f"{stage.name}: skipped, {record['skipped']}")
            else:
                started_s = time.monotonic()
                self._run(stage, (only or {}).get(stage.name, ()), limit_s(stage, stages[index + 1 :], left_s))
                record["seconds"] = round(time.monotonic() - started_s, 1)
                self._say(f"{stage.name}: {record['seconds']} s")
            self._write()

    def _run(self, stage: Stage, only: tuple[str, ...], seconds: float) -> None:
        """One stage; a child that breaks down is replaced for the parts after the one that it was in."""
        parts: dict[str, Any] = self.stages[stage.name]["parts"]
        end_s = time.monotonic() + seconds
        self._say(f"{stage.name}: {stage.answers}; at most {seconds:.0f} s")
        while True:
            before = len(parts)
            child = self._child_for(stage.process)
            running = None
            try:
                child.order(host.Order(stage.name, tuple(parts), only, end_s - time.monotonic()))
                while (message := child.receive(end_s)) != host.END:
                    running = self._note(stage.name, parts, message)
                return
            except TimeoutError:
                parts[running or "process"] = {"error": f"ended from outside: the stage had {seconds:.0f} s"}
                child.end(patience_s=0)
                return
            except EOFError:
                status = child.end()
                if running is None and len(parts) > before:
                    continue  # it had said why
                parts.setdefault(running or "process", {"error": f"the process ended, with status {status}"})
                if running is None:
                    return
            finally:
                self._write()

    def _note(self, stage: str, parts: dict[str, Any], message: host.Message) -> str | None:
        """Writes down what the child said. Returns the part that it is in."""
        name = message.part
        said = {key: value for key, value in message._asdict().items() if key != "part" and value is not None}
        if not said:
            self._say(f"  {stage}: {name} …")
            self._part_started_s = time.monotonic()
            return name
        seconds = 0.0 if message.skipped else round(time.monotonic() - self._part_started_s, 1)
        parts[name] = {"seconds": seconds, **said}
        self._write()
        lines = (message.error or "").strip().splitlines()
        self._say(f"  {stage}: {name} {_short(message.figures or message.skipped or lines[-1])}")
        return None

    def _child_for(self, process: str) -> Child:
        """The one that runs, if it is of `process`, else a new one."""
        if self._child is None or self._child.process != process or not self._child.is_alive:
            if self._child is not None:
                self._child.end()
            self._part_started_s = time.monotonic()
            kernels = self._work / ("kernels-start" if process == "start" else "kernels")  # that one finds none there
            self._child = Child(process, self._target, (self._out, self._work, self._tiny), kernels)
        return self._child

    def _write(self) -> None:
        draft = self._out / "stages.json.new"
        draft.write_text(json.dumps(self.stages, indent=1, default=str) + "\n")
        draft.replace(self._out / "stages.json")

    def _say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._started_s:6.1f} s] {text}", flush=True)


def limit_s(stage: Stage, later: Sequence[Stage], left_s: float) -> float:
    """Seconds after which a stage is ended."""
    spare_s = left_s - MARGIN_S - sum(other.seconds for other in later)
    return min(left_s, max(stage.seconds, stage.most, spare_s))


def _short(said: object) -> str:
    if isinstance(said, dict):
        return ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in said.items()
            if not isinstance(value, dict | list)
        )
    return str(said)[:200]
