"""The page for people at `GET /`: the files of `page/`, under a Content-Security-Policy that trusts no other host."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request, Response

MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
PAGE = files("serve_app") / "page"
ASSETS = {file.name: MEDIA_TYPES[Path(file.name).suffix] for file in PAGE.iterdir()}

HEADERS = {
    "Cache-Control": "no-cache",  # a browser asks each time; where nothing has changed the ETag answers
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page_routes() -> APIRouter:
    """The page and its assets; the page calls the API under the same prefix and needs no key itself."""
    router = APIRouter(include_in_schema=False)
    for name, media_type in ASSETS.items():
        path = "/" if name == "index.html" else f"/page/{name}"
        body = (PAGE / name).read_bytes()
        router.add_api_route(path, _Asset(body, media_type).answer, methods=["GET", "HEAD"])
    return router


class _Asset:
    def __init__(self, body: bytes, media_type: str) -> None:
        self._body = body
        self._media_type = media_type
        self._etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'

    async def answer(self, request: Request) -> Response:
        headers = {**HEADERS, "ETag": self._etag}
        if self._etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self._body, media_type=self._media_type, headers=headers)
