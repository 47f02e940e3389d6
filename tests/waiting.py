"""Waiting for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def eventually(holds: Callable[[], bool], within_s: float = 5) -> None:
    """Waits until `holds()`; fails if that takes longer than `within_s`."""
    deadline_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline_s, f"it did not come to hold within {within_s} s"
        time.sleep(0.02)


def wait_for(file: Path, text: str) -> None:
    """Waits until a fake engine has written `text`."""
    eventually(lambda: file.exists() and file.read_text() == text, within_s=20)
