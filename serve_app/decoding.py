"""Orders that come with pictures are built in threads of their own: decoding takes time, and memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from deployments.errors import DeadlineExceeded
from serve_app.jobs import Order

THREADS = 2
"""A picture of 50 million pixels takes up to 600 MB while it is decoded."""


class Decoding:
    """The threads of an ingress replica."""

    def __init__(self, timeout_s: float) -> None:
        """`timeout_s`: how long an order may wait for a thread and be built."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="decode")
        self._timeout_s = timeout_s

    async def build(self, build: Callable[..., Order], *arguments: object) -> Order:
        """What `build` makes of the arguments; a call that is cancelled while it waits for a thread is not made.

        Raises:
            DeadlineExceeded: it took too long.
            Exception: what `build` raises.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._threads, build, *arguments)
        except TimeoutError:
            raise DeadlineExceeded(f"The input picture was not read within {self._timeout_s:g} s.") from None
