"""How much of the clients' bodies an ingress replica holds in memory."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.config import LimitsConfig
from serve_app.errors import BodyTooLarge, QueueFull


class BodyLimit:
    """Refuses a body over the limit without reading all of it, and any body while too much is held already.

    Raises:
        BodyTooLarge: the body is over `limits.max_body_bytes`.
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
        body = _Counted(receive, self._take)
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

    def __init__(self, receive: Receive, take: Callable[[int, int], None]) -> None:
        self.received_bytes = 0
        self._receive = receive
        self._take = take

    async def receive(self) -> Message:
        message: Message = await self._receive()
        more_bytes = len(message.get("body", b""))
        self.received_bytes += more_bytes
        self._take(more_bytes, self.received_bytes)
        return message
