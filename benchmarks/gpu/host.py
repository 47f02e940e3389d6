"""The process that runs parts of stages, as the runner orders them."""

from __future__ import annotations

import importlib
import logging
import os
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.gpu.folders import Folders

if TYPE_CHECKING:
    from benchmarks.gpu.bench import Bench
    from benchmarks.gpu.parts import Part


class Order(NamedTuple):
    """A stage, or what is left of it."""

    stage: str
    after: tuple[str, ...]
    """Parts that have run, or were begun by a process that is gone."""
    only: tuple[str, ...]
    """The parts that are wanted; none: all."""
    seconds: float
    """After this the runner ends the process."""


class Message(NamedTuple):
    """What the process says of a part: that it began, its figures, or why it has none."""

    part: str
    figures: dict[str, object] | None = None
    error: str | None = None
    skipped: str | None = None


END = Message("")
"""The stage is done."""


def main(pipe: Connection, out: Path, work: Path, tiny: bool) -> None:
    """Takes orders until the pipe is closed."""
    logging.basicConfig(level=logging.INFO, format="    %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        from benchmarks.gpu.bench import Bench

        from diffusers.utils import logging as diffusers_logging  # isort: skip

        bench = Bench(Folders(out, work), tiny)
    except Exception:
        pipe.send(Message("process", error=traceback.format_exc()))
        return
    diffusers_logging.set_verbosity_error()  # it warns of what is changed on purpose: a copy in another dtype
    while True:
        try:
            order: Order = pipe.recv()
        except EOFError:
            bench.close()
            return
        bench.deadline_s = time.monotonic() + order.seconds
        try:
            run_parts(pipe.send, bench, importlib.import_module(f"benchmarks.gpu.{order.stage}").PARTS, order)
        except ImportError:
            pipe.send(Message("process", error=traceback.format_exc()))
        pipe.send(END)


def run_parts(send: Callable[[Message], None], bench: Bench, parts: Sequence[Part], order: Order) -> None:
    """One after the other; what one of them raises is sent, and the next one begun."""
    from benchmarks.gpu.parts import SkippedPart

    for part in parts:
        if part.name in order.after or (order.only and part.name not in order.only):
            continue
        if not bench.tiny and bench.left_s < part.seconds:
            send(Message(part.name, skipped=f"it needs {part.seconds:.0f} s; {bench.left_s:.0f} s are left"))
            continue
        send(Message(part.name))
        try:
            figures = part.measure(bench)
            bench.synchronize()
            send(Message(part.name, figures))
        except SkippedPart as error:
            send(Message(part.name, skipped=str(error)))
        except Exception:
            send(Message(part.name, error=traceback.format_exc()))
            _end_if_broken(bench)


def _end_if_broken(bench: Bench) -> None:
    """After a kernel's failure every later call of this process fails like it; the runner starts another one."""
    try:
        bench.synchronize()
    except RuntimeError:
        os._exit(1)
