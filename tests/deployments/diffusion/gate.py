"""Holds an engine where a test wants it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import torch


class Gate:
    """Holds the engine's thread before a module's forward until it is opened."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()
        module.register_forward_pre_hook(self._wait)

    def _wait(self, *_: Any) -> None:
        self.reached.set()
        assert self._open.wait(10)

    def open(self) -> None:
        self._open.set()

    async def wait_until_reached(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 10)
