"""What a child process prints: held back until its output is wanted, and then passed on."""

from __future__ import annotations

import sys
import threading
from collections import deque
from contextlib import suppress
from typing import IO

MAX_LINES = 60


class HeldOutput:
    """The last lines of a child process, read by a thread of its own: a full pipe would hold the child."""

    def __init__(self, lines: IO[str]) -> None:
        """Reads `lines` to their end."""
        self._held: deque[str] | None = deque(maxlen=MAX_LINES)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._thread.start()

    def show(self, heading: str) -> None:
        """Prints the lines that are held, if there are any, under a heading; what comes later is held again."""
        with self._lock:
            if self._held:
                say("".join([f"{heading}\n", *self._held]))
                self._held.clear()

    def pass_on(self) -> None:
        """Forgets the lines that are held; what comes later is printed."""
        with self._lock:
            self._held = None

    def silence(self) -> None:
        """Drops the lines that are held, and those that come later."""
        with self._lock:
            self._held = deque(maxlen=0)

    def wait_for_end(self, timeout_s: float) -> None:
        """Waits until the child has printed its last line."""
        self._thread.join(timeout_s)

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            with self._lock:
                if self._held is None:
                    say(line)
                else:
                    self._held.append(line)


def say(text: str) -> None:
    """Prints `text` at once; does nothing where the terminal is gone."""
    with suppress(OSError):
        sys.stdout.write(text)
        sys.stdout.flush()
