"""How much of the clients' bodies an ingress replica holds in memory, and how long it waits for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.config import LimitsConfig
from serve_app.errors import BodyTooLarge, BodyTooSlow, QueueFull


class BodyLimit:
    """Refuses a body over the limit without reading all of it, any body while too much is held already, and slow ones.

    Raises:
        BodyTooLarge: the body is over `limits.max_body_bytes`.
        BodyTooSlow: it is not there after `limits.body_timeout_s`.
        QueueFull: the bodies of all running requests together are over `limits.max_bodies_bytes`.
    """

    def __init__(self, app: ASGIApp, limits: LimitsConfig) -> None:
        self._app = app
        self._limits = limits
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        announced = Headers(scope=scope).get("content-length", "0") if scope["type"] == "http" else "0"
        if announced.isdigit():
            self._check(int(announced))
        body = _Counted(receive, self._take, self._limits.body_timeout_s)
        try:
            await self._app(scope, body.receive, send)
        finally:
            self._held_bytes -= body.received_bytes

    def _take(self, more_bytes: int, body_bytes: int) -> None:
        self._held_bytes += more_bytes
        self._check(body_bytes)
        if self._held_bytes > self._limits.max_bodies_bytes:
            raise QueueFull("The server holds as many uploads as it can. Try again later.", self._limits.retry_after_s)

    def _check(self, body_bytes: int) -> None:
        if body_bytes > self._limits.max_body_bytes:
            raise BodyTooLarge(f"The body is over {self._limits.max_body_bytes} bytes, the most that is allowed.")


class _Counted:
    """A request's body as it comes in."""

    def __init__(self, receive: Receive, take: Callable[[int, int], None], timeout_s: float) -> None:
        self.received_bytes = 0
        self._receive = receive
        self._take = take
        self._timeout_s = timeout_s
        self._until_s = time.monotonic() + timeout_s
        self._complete = False

    async def receive(self) -> Message:
        if self._complete:  # what comes now is the client's leaving
            return await self._receive()
        try:
            async with asyncio.timeout(self._until_s - time.monotonic()):
                message: Message = await self._receive()
        except TimeoutError:
            raise BodyTooSlow(f"The body was not there within {self._timeout_s:g} s.") from None
        self._complete = not message.get("more_body", False)
        more_bytes = len(message.get("body", b""))
        self.received_bytes += more_bytes
        self._take(more_bytes, self.received_bytes)
        return message
