"""A process that runs stages, and what it started: seen, and ended, from outside."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.gpu.host import Message, Order

PATIENCE_S = 5.0
"""What a process that has nothing to do gets to end by itself."""


class Child:
    """Runs from when it is made until `end`."""

    def __init__(self, process: str, target: Callable[..., None], arguments: tuple[Any, ...], kernels: Path) -> None:
        """`target` gets the other end of a pipe, and `arguments`. `kernels` is where torch keeps what it compiles."""
        self.process = process
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(kernels)
        os.environ["TRITON_CACHE_DIR"] = str(kernels / "triton")
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._child = context.Process(target=target, args=(theirs, *arguments))
        self._child.start()
        theirs.close()

    @property
    def is_alive(self) -> bool:
        return self._child.is_alive()

    def order(self, order: Order) -> None:
        """Raises EOFError when the process has ended."""
        try:
            self._pipe.send(order)
        except ConnectionError as error:
            raise EOFError from error

    def receive(self, end_s: float) -> Message:
        """Raises TimeoutError at `end_s`, EOFError when the process has ended."""
        if not self._pipe.poll(max(0.0, end_s - time.monotonic())):
            raise TimeoutError
        try:
            message: Message = self._pipe.recv()
        except ConnectionError as error:
            raise EOFError from error
        return message

    def end(self, patience_s: float = PATIENCE_S) -> int | None:
        """Ends it and all that it started; returns its exit status, where it ended by itself."""
        started = []
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._child.pid)
            started = [*root.children(recursive=True), root]
        self._pipe.close()
        self._child.join(patience_s)
        status = self._child.exitcode
        for process in started:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._child.join(PATIENCE_S)
        return status
