"""How long the device takes, which on a GPU is not how long its calls take."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

REPEATS = 5


def measure_s(action: Callable[[], object], device: torch.device) -> float:
    """Seconds that `action` takes: once to warm up, then the median of `REPEATS`."""
    action()
    return statistics.median(_once_s(action, device) for _ in range(REPEATS))


def _once_s(action: Callable[[], object], device: torch.device) -> float:
    if device.type != "cuda":
        started_s = time.monotonic()
        action()
        return time.monotonic() - started_s
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    action()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000


class StepClock:
    """Times steps on the device, and lets it fall behind the engine's thread by one step and no more.

    A GPU works on what it was given while the thread goes on. The clock's `stop` is the one wait of a step: for the
    end of the step before.
    """

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._started: torch.cuda.Event | float = 0.0
        self._before: tuple[int, torch.cuda.Event, torch.cuda.Event] | None = None

    def start(self) -> None:
        """A step begins."""
        self._started = self._event() if self._is_cuda else time.monotonic()

    def stop(self, cost: int) -> tuple[int, float] | None:
        """A step ends, whose work is `cost`.

        Returns:
            The cost and the seconds of a step that the device has done: on a GPU the one before, if there was any.
        """
        if isinstance(self._started, float):
            return cost, time.monotonic() - self._started
        before, self._before = self._before, (cost, self._started, self._event())
        if before is None:
            return None
        cost, start, end = before
        end.synchronize()
        return cost, float(start.elapsed_time(end)) / 1000

    def _event(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event
