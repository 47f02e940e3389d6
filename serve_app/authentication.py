"""Who may use a route that draws: the holder of an API key, or where there are no keys this machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import Request

from serve_app.errors import NotLoopback

if TYPE_CHECKING:
    from serve_app.ingress import Ingress

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def require_key(ingress: Ingress) -> Callable[[Request], Awaitable[None]]:
    """A dependency of routes. It raises InvalidApiKey or NotLoopback, and notes the key's name in the record."""

    async def check(request: Request) -> None:
        if ingress.keys is not None:
            request.state.record.key_name = ingress.keys.check(request.headers.get("authorization"))
        elif not _is_local(request, ingress.config.access.cors_origins):
            raise NotLoopback("This server has no API keys configured, so it answers its own machine only.")

    return check


def _is_local(request: Request, cors_origins: Sequence[str]) -> bool:
    """Whether caller and name are this machine's, and no page from elsewhere calls through this machine's browser."""
    origin = request.headers.get("origin")
    try:
        origin_host = urlsplit(origin or "").hostname
    except ValueError:  # no URL at all
        return False
    return (
        request.client is not None
        and request.client.host in LOOPBACK
        and request.url.hostname in LOOPBACK
        and (origin is None or origin_host in LOOPBACK or origin in cors_origins)
    )
