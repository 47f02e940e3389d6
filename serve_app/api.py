"""The routes."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse

from deployments.storage import media_type
from serve_app.bodies import read_form, read_json
from serve_app.errors import InvalidRequest, NotLoopback, add_error_handlers, request_id_of
from serve_app.middleware import BodyLimit, RequestLog
from serve_app.schemas import (
    EditRequest,
    GenerationRequest,
    ImagesResponse,
    ModelList,
    ModelObject,
    WireModel,
    parse_request,
)

if TYPE_CHECKING:
    from serve_app.ingress import Ingress

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def create_api(ingress: Ingress) -> FastAPI:
    """The ASGI application around one ingress replica."""
    api = FastAPI(title="Images", summary="OpenAI's Images API on Stable Diffusion XL", version="1", redoc_url=None)
    config = ingress.config
    add_error_handlers(api)
    api.add_middleware(BodyLimit, max_body_bytes=config.limits.max_body_bytes)
    if config.access.cors_origins:
        api.add_middleware(CORSMiddleware, allow_origins=config.access.cors_origins, allow_methods=["*"])
    api.add_middleware(RequestLog, metrics=ingress.metrics)
    api.include_router(openai_routes(ingress))
    api.include_router(open_routes(ingress))
    return api


def openai_routes(ingress: Ingress) -> APIRouter:
    """OpenAI's routes; each asks for an API key."""

    async def authenticate(request: Request) -> None:
        if ingress.keys is not None:
            request.state.record.key_name = ingress.keys.check(request.headers.get("authorization"))
        elif request.client is None or request.client.host not in LOOPBACK:
            raise NotLoopback("This server has no API keys configured, so it answers its own machine only.")

    router = APIRouter(prefix="/v1", tags=["OpenAI"], dependencies=[Depends(authenticate)])

    @router.post(
        "/images/generations",
        response_model=ImagesResponse,
        response_model_exclude_none=True,
        openapi_extra=_body("application/json", GenerationRequest),
    )
    async def generate(request: Request) -> ImagesResponse:
        """Creates images from a prompt."""
        fields = await read_json(request)
        entry = ingress.catalog.find(fields.get("model"))
        wire = parse_request(GenerationRequest, fields, entry.served.unknown_fields == "ignore")
        order = ingress.jobs.text_to_image(wire, entry, request_id_of(request), time.time())
        return await ingress.answer(order, str(request.base_url), request.state.record)

    @router.post(
        "/images/edits",
        response_model=ImagesResponse,
        response_model_exclude_none=True,
        openapi_extra=_body("multipart/form-data", EditRequest, files=("image",)),
    )
    async def edit(request: Request) -> ImagesResponse:
        """Creates an edited image from an image and a prompt; with `user=cn`, an image in the given one's pose."""
        fields, files = await read_form(request)
        entry = ingress.catalog.find(fields.get("model"))
        wire = parse_request(EditRequest, fields, entry.served.unknown_fields == "ignore")
        image = _only_file(files, "image")
        order = await asyncio.to_thread(
            ingress.jobs.image_edit, wire, entry, image, request_id_of(request), time.time()
        )
        return await ingress.answer(order, str(request.base_url), request.state.record)

    @router.get("/models")
    async def models() -> ModelList:
        """Lists the served names."""
        return ingress.catalog.model_list()

    @router.get("/models/{model}")
    async def model(model: str) -> ModelObject:
        """Describes one served name."""
        return ingress.catalog.model_object(model)

    return router


def open_routes(ingress: Ingress) -> APIRouter:
    """Routes without an API key: image URLs, which carry a signature of their own, and the health of the graph."""
    router = APIRouter()

    @router.api_route("/images/{picture_id}", methods=["GET", "HEAD"], response_class=Response, tags=["Image URLs"])
    async def picture(request: Request, picture_id: str, expires: str = "", signature: str = "") -> Response:
        """Hands out a picture while its URL is valid."""
        now_s = time.time()
        expires_s = ingress.signer.verify(picture_id, expires, signature, now_s)
        data = await ingress.picture(picture_id)
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

    return router


def _only_file(files: dict[str, list[bytes]], name: str) -> bytes:
    unknown = sorted(files.keys() - {name})
    if unknown:
        raise InvalidRequest(f"Unknown file {unknown[0][:64]!r}. Allowed: {name}.", unknown[0][:64])
    given = files.get(name, [])
    if len(given) != 1:
        raise InvalidRequest(f"One file '{name}' is required; got {len(given)}.", name)
    return given[0]


def _body(media_type: str, wire_type: type[WireModel], files: tuple[str, ...] = ()) -> dict[str, Any]:
    """The request body's schema for /docs; the routes read the body themselves."""
    schema = wire_type.model_json_schema()
    for name in files:
        schema["properties"] = {name: {"type": "string", "format": "binary"}, **schema["properties"]}
        schema["required"] = [name, *schema.get("required", [])]
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}
