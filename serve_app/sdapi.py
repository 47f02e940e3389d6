"""AUTOMATIC1111's routes, for clients that speak nothing else. What they send beyond the fields read is ignored."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request

from serve_app.authentication import require_key
from serve_app.bodies import read_json
from serve_app.catalog import Entry
from serve_app.errors import InvalidRequest, request_id_of
from serve_app.input_images import decode_base64
from serve_app.jobs import Order
from serve_app.model_choice import ModelChoice
from serve_app.openapi import request_bodies
from serve_app.schemas import EditRequest, GenerationRequest, parse_request
from serve_app.sdapi_runs import Runs
from serve_app.sdapi_schemas import (
    SCHEDULES,
    ImagesAnswer,
    ImageToImageRequest,
    TextToImageRequest,
    openai_fields,
    sampler_names,
)

if TYPE_CHECKING:
    from serve_app.ingress import Ingress


def sdapi_routes(ingress: Ingress) -> APIRouter:
    """The router of `/sdapi/v1`."""
    router = APIRouter(prefix="/sdapi/v1", tags=["AUTOMATIC1111"], dependencies=[Depends(require_key(ingress))])
    runs = Runs()
    choice = ModelChoice(ingress.store, ingress.catalog)

    async def entry_of(request: Request, wire: TextToImageRequest) -> Entry:
        if name := wire.model or wire.override_settings.get("sd_model_checkpoint"):
            return ingress.catalog.find(name)
        return await choice.read(_key(request))

    async def answer(request: Request, order: Order) -> ImagesAnswer:
        events = ingress.stream(order, "image_generation", None, request.state.record)
        return _answer(order, [picture.b64_json for picture in await runs.collect(_key(request), events)])

    @router.post("/txt2img", openapi_extra=request_bodies(json=TextToImageRequest))
    async def text_to_image(request: Request) -> ImagesAnswer:
        """Creates images from a prompt."""
        wire = parse_request(TextToImageRequest, await read_json(request), ignore_unknown=True)
        entry = await entry_of(request, wire)
        fields = parse_request(GenerationRequest, openai_fields(wire, entry), ignore_unknown=False)
        return await answer(request, ingress.jobs.text_to_image(fields, entry, request_id_of(request), time.time()))

    @router.post("/img2img", openapi_extra=request_bodies(json=ImageToImageRequest))
    async def image_to_image(request: Request) -> ImagesAnswer:
        """Creates images from an image and a prompt."""
        wire = parse_request(ImageToImageRequest, await read_json(request), ignore_unknown=True)
        if wire.mask is not None:
            raise InvalidRequest("'mask' is not supported here; POST /v1/images/edits takes one.", "mask")
        entry = await entry_of(request, wire)
        fields = parse_request(EditRequest, openai_fields(wire, entry), ignore_unknown=False)
        image = decode_base64(wire.init_images[0], "init_images")
        order = await ingress.decoding.build(
            ingress.jobs.image_edit, fields, entry, image, None, request_id_of(request), time.time()
        )
        return await answer(request, order)

    @router.get("/options")
    async def options(request: Request) -> dict[str, str]:
        """Says which model draws where a request names none."""
        return {"sd_model_checkpoint": (await choice.read(_key(request))).name, "samples_format": "png"}

    @router.post("/options")
    async def set_options(request: Request) -> None:
        """Chooses the model, for this API key; other options are ignored."""
        name = (await read_json(request)).get("sd_model_checkpoint")
        if name is not None:
            await choice.write(_key(request), ingress.catalog.find(name))

    @router.get("/sd-models")
    async def models() -> list[dict[str, str]]:
        """Lists the served names."""
        names = [model.id for model in ingress.catalog.model_list().data]
        return [{"title": name, "name": name, "model_name": name} for name in names]

    @router.get("/samplers")
    async def samplers() -> list[dict[str, Any]]:
        """Lists the samplers."""
        return [{"name": name, "aliases": [here], "options": {}} for name, here in sampler_names().items()]

    @router.get("/schedulers")
    async def schedulers() -> list[dict[str, str]]:
        """Lists the noise schedules."""
        return [{"name": name, "label": name.title()} for name in SCHEDULES]

    @router.get("/upscalers")
    async def upscalers() -> list[dict[str, str]]:
        """There are none; clients expect one of this name."""
        return [{"name": "None"}]

    @router.get("/latent-upscale-modes")
    @router.get("/sd-vae")
    @router.get("/sd-modules")
    async def nothing() -> list[dict[str, str]]:
        """There are none."""
        return []

    @router.get("/progress")
    async def progress(request: Request) -> dict[str, Any]:
        """Says how far the oldest request of this API key is, of those on this replica."""
        own = runs.of(_key(request))
        step, steps = (own[0].progress.step, own[0].progress.steps) if own else (0, 0)
        return {
            "progress": step / steps if steps else 0.0,
            "eta_relative": 0.0,
            "state": {"job_count": len(own), "sampling_step": step, "sampling_steps": steps},
            "current_image": None,
        }

    @router.post("/interrupt")
    async def interrupt(request: Request) -> None:
        """Stops the requests of this API key, of those on this replica."""
        for run in runs.of(_key(request)):
            run.is_interrupted.set()

    return router


def _key(request: Request) -> str:
    name: str = request.state.record.key_name
    return name


def _answer(order: Order, images: list[str]) -> ImagesAnswer:
    job = order.job
    samplers = {here: name for name, here in sampler_names().items()}
    parameters = {
        "prompt": job.prompt,
        "negative_prompt": job.negative_prompt,
        "width": job.width_px,
        "height": job.height_px,
        "steps": job.steps,
        "cfg_scale": job.guidance_scale,
        "sampler_name": samplers.get(job.scheduler, job.scheduler),
        "seed": job.seeds[0],
        "batch_size": len(job.seeds),
        "sd_model_name": order.entry.name,
    }
    info = parameters | {"all_seeds": list(job.seeds), "all_prompts": [job.prompt] * len(job.seeds)}
    return ImagesAnswer(images=images, parameters=parameters, info=json.dumps(info))
