"""Routes without an API key: image URLs, which carry a signature of their own, and the health of the graph."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from deployments.storage import media_type

if TYPE_CHECKING:
    from serve_app.ingress import Ingress


def open_routes(ingress: Ingress) -> APIRouter:
    """Routes without an API key: image URLs, which carry a signature of their own, and the health of the graph."""
    router = APIRouter()

    @router.api_route("/images/{picture_id}", methods=["GET", "HEAD"], response_class=Response, tags=["Image URLs"])
    async def picture(request: Request, picture_id: str, expires: str = "", signature: str = "") -> Response:
        """Hands out a picture while its URL is valid."""
        now_s = time.time()
        expires_s = ingress.signer.verify(picture_id, expires, signature, now_s)
        data = await ingress.store.picture(picture_id)
        headers = {
            "Cache-Control": f"private, max-age={int(expires_s - now_s)}",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(data, media_type=media_type(picture_id), headers=headers)

    @router.get("/healthz", tags=["Operations"])
    async def healthz() -> JSONResponse:
        """Says whether every deployment has a working replica, and what is missing."""
        missing = await ingress.health.missing()
        return (
            JSONResponse({"status": "incomplete", "missing": missing}, 503)
            if missing
            else JSONResponse({"status": "ok"})
        )

    @router.options("/v1/images/{operation}", status_code=204, tags=["Operations"])
    async def image_route(operation: str) -> Response:
        """Says that the image routes are there, to clients that ask so before they have a key."""
        return Response(status_code=204, headers={"Allow": "OPTIONS, POST"})

    return router
