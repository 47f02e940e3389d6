"""Who may use a route that draws: the holder of an API key, or where there are no keys this machine."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fastapi import Request

from serve_app.config import LOOPBACK
from serve_app.errors import NotLoopback

if TYPE_CHECKING:
    from serve_app.ingress import Ingress

FORWARDED = re.compile(r"forwarded|via|x-real-ip|x-forwarded-.*")
"""Names of the headers by which a proxy says that it asks for somebody else."""


def require_key(ingress: Ingress) -> Callable[[Request], Awaitable[None]]:
    """A dependency of routes. It raises InvalidApiKey or NotLoopback, and notes the key's name in the record."""

    async def check(request: Request) -> None:
        if ingress.keys is not None:
            request.state.record.key_name = ingress.keys.check(request.headers.get("authorization"))
        elif not _is_local(request, ingress.config.access.cors_origins):
            raise NotLoopback(
                "This server has no API keys configured (access.key_file), so it answers its own machine only."
            )

    return check


def _is_local(request: Request, cors_origins: Sequence[str]) -> bool:
    """Whether caller and name are this machine's, and nobody from elsewhere calls through it: a page in its browser, or
    who is behind a proxy that says so. One that says nothing can't be told from a program of this machine.
    """
    origin = request.headers.get("origin")
    try:
        origin_host = urlsplit(origin or "").hostname
    except ValueError:  # no URL at all
        return False
    return (
        request.client is not None
        and request.client.host in LOOPBACK
        and request.url.hostname in LOOPBACK
        and not any(map(FORWARDED.fullmatch, request.headers))
        and (origin is None or origin_host in LOOPBACK or origin in cors_origins)
    )
