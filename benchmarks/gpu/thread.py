"""The engine's own thread, which is the one that may run its models: compiled ones belong to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from deployments.diffusion.engine import DiffusionEngine

Result = TypeVar("Result")


@contextmanager
def awake(engine: DiffusionEngine) -> Iterator[None]:
    """Within it an engine that has no work looks for some all the time, so that `on_thread` begins at once."""
    backlog: Any = engine._backlog
    backlog.wait_for_work = lambda _: time.sleep(0.001)
    on_thread(engine, int)  # it may wait the other way still
    try:
        yield
    finally:
        del backlog.wait_for_work


def on_thread(engine: DiffusionEngine, action: Callable[[], Result]) -> Result:
    """Runs `action` on the engine's thread between two ticks."""
    ticker: Any = engine._ticker
    done: Future[Result] = Future()

    def tick() -> bool:
        del ticker.tick
        try:
            done.set_result(action())
        except Exception as error:
            done.set_exception(error)
        return True

    ticker.tick = tick
    return done.result(600)
