"""OpenAI's routes; each asks for an API key."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, Request, Response

from serve_app.answers import Operation
from serve_app.authentication import require_key
from serve_app.bodies import Form, media_type, read_form, read_json
from serve_app.errors import InvalidRequest, request_id_of
from serve_app.idempotency import request_key
from serve_app.input_images import more_than_one, read_inline_form
from serve_app.jobs import Order
from serve_app.openapi import request_bodies
from serve_app.responses import ImagesResponse, ModelList, ModelObject
from serve_app.schemas import (
    EditRequest,
    GenerationRequest,
    ImagesRequest,
    PromptRequest,
    VariationRequest,
    parse_request,
    refuse_unsupported,
    short,
)
from serve_app.streaming import event_stream

if TYPE_CHECKING:
    from serve_app.ingress import Ingress


def openai_routes(ingress: Ingress) -> APIRouter:
    """The router of `/v1`."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"], dependencies=[Depends(require_key(ingress))])

    async def answer(request: Request, form: Form, wire: ImagesRequest, order: Order, operation: Operation) -> Response:
        record, base_url = request.state.record, str(request.base_url)
        key = request_key(request, form)
        if isinstance(wire, PromptRequest) and wire.stream:
            links = base_url if wire.response_format == "url" else None
            return await event_stream(request, ingress.stream(order, operation, links, record))
        if key is None:
            return _json((await ingress.answer(order, base_url, record)).model_dump_json(exclude_none=True))
        kept = await ingress.idempotency.once(
            key, lambda: ingress.answer(order, base_url, record), order.job.deadline_unix_s
        )
        return _json(kept.body, {"Idempotent-Replayed": "true"} if kept.is_repeat else None)

    @router.post(
        "/images/generations", response_model=ImagesResponse, openapi_extra=request_bodies(json=GenerationRequest)
    )
    async def generate(request: Request) -> Response:
        """Creates images from a prompt."""
        form = Form(await read_json(request), {})
        entry = ingress.catalog.find(form.fields.get("model"))
        wire = parse_request(GenerationRequest, form.fields, entry.served.unknown_fields == "ignore")
        order = ingress.jobs.text_to_image(wire, entry, request_id_of(request), time.time())
        return await answer(request, form, wire, order, "image_generation")

    @router.post(
        "/images/edits",
        response_model=ImagesResponse,
        openapi_extra=request_bodies(json=EditRequest, form=EditRequest, files=("image", "mask")),
    )
    async def edit(request: Request) -> Response:
        """Creates an edited image from an image and a prompt; with `user=cn`, an image in the given one's pose.

        A form has the files `image` and `mask`; JSON has `images: [{"image_url": …}]` and `mask: {"image_url": …}`.
        """
        if media_type(request) == "application/json":
            form = await read_inline_form(await read_json(request), ingress)
        else:
            form = await read_form(request)
        entry = ingress.catalog.find(form.fields.get("model"))
        wire = parse_request(EditRequest, form.fields, entry.served.unknown_fields == "ignore")
        _check_files(form, "image", "mask")
        image, mask = _image(form), next(iter(form.files.get("mask", [])), None)
        order = await ingress.decoding.build(
            ingress.jobs.image_edit, wire, entry, image, mask, request_id_of(request), time.time()
        )
        return await answer(request, form, wire, order, "image_edit")

    @router.post(
        "/images/variations",
        response_model=ImagesResponse,
        openapi_extra=request_bodies(form=VariationRequest, files=("image",)),
    )
    async def vary(request: Request) -> Response:
        """Creates images like the given one."""
        form = await read_form(request)
        entry = ingress.catalog.find(form.fields.get("model"))
        wire = parse_request(VariationRequest, form.fields, entry.served.unknown_fields == "ignore")
        _check_files(form, "image")
        order = await ingress.decoding.build(
            ingress.jobs.variation, wire, entry, _image(form), request_id_of(request), time.time()
        )
        return await answer(request, form, wire, order, "image_edit")

    @router.get("/models", response_model_exclude_none=True)
    async def models() -> ModelList:
        """Lists the served names."""
        return ingress.catalog.model_list()

    @router.get("/models/{model:path}")
    async def model(model: str) -> ModelObject:
        """Describes one served name, and what it can do."""
        return ingress.catalog.model_object(model)

    return router


def _json(body: str, headers: dict[str, str] | None = None) -> Response:
    return Response(body, media_type="application/json", headers=headers)


def _check_files(form: Form, *allowed: str) -> None:
    for unknown in sorted(form.files.keys() - set(allowed)):
        refuse_unsupported(unknown)
        raise InvalidRequest(f"Unknown file {short(unknown)}. Allowed: {', '.join(allowed)}.", unknown[:64])
    for name, files in form.files.items():
        if len(files) > 1:
            raise more_than_one(len(files), name)


def _image(form: Form) -> bytes:
    if not form.files.get("image"):
        raise InvalidRequest("One file 'image' is required; got none.", "image")
    return form.files["image"][0]
