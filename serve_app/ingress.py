"""Ingress: wire → job → pipeline → storage → wire."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from deployments.contracts import Done, PipelineResponse, Preview, Progress
from serve_app.access import KeyRing
from serve_app.answers import Answers, Operation, completed_images, partial_image
from serve_app.catalog import Catalog
from serve_app.config import AppConfig
from serve_app.decoding import Decoding
from serve_app.dispatch import Dispatch, Pipelines
from serve_app.health import GraphHealth
from serve_app.idempotency import Idempotency
from serve_app.jobs import JobBuilder, Order
from serve_app.metrics import Metrics
from serve_app.records import RequestRecord
from serve_app.responses import CompletedImage, ImagesResponse, PartialImage
from serve_app.signing import UrlSigner
from serve_app.store import Store

__all__ = ["Ingress", "Pipelines"]

logger = logging.getLogger("ray.serve")


class Ingress:
    """The service behind the routes; `api.py` holds the routes themselves."""

    def __init__(
        self,
        config: AppConfig,
        url_keys: Sequence[SecretStr],
        pipelines: Mapping[str, Pipelines],
        storage: DeploymentHandle[Any],
        deployment_models: Mapping[str, str],
    ) -> None:
        """`pipelines` by model id; `deployment_models`: the model id that each pipeline deployment loads."""
        self.config = config
        self.catalog = Catalog(config)
        self.jobs = JobBuilder(config)
        self.decoding = Decoding(config.limits.request_timeout_s)
        self.signer = UrlSigner(url_keys, config.storage.url_ttl_s)
        self.keys = KeyRing(Path(config.access.key_file)) if config.access.key_file else None
        if self.keys is None:
            logger.warning("No API keys are configured (access.key_file): only this machine is served.")
        self.metrics = Metrics()
        self.health = GraphHealth(deployment_models)
        self._answers = Answers(self.signer, config.public_url)
        self._dispatch = Dispatch(pipelines, storage, config.limits)
        self.store = Store(storage, config.limits.retry_after_s)
        self.idempotency = Idempotency(self.store, config.storage.url_ttl_s)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Ray Serve asks for the app on the replica, after the constructor."""
        from serve_app.api import create_api

        return create_api(self)

    async def answer(self, order: Order, base_url: str, record: RequestRecord) -> ImagesResponse:
        """Draws an order and answers with its pictures, or with the URLs where they are.

        Raises:
            QueueFull, DeadlineExceeded, ServiceUnavailable, JobError, GenerationFailed, StoreUnavailable
        """
        _note(record, order)
        response = await self._dispatch.draw(order, record)
        record.stages_s = response.stages_s
        return self._answers.images(order, response, base_url)

    async def stream(
        self, order: Order, operation: Operation, base_url: str | None, record: RequestRecord
    ) -> AsyncGenerator[Progress | PartialImage | CompletedImage, None]:
        """Draws an order and yields its progress and previews as they come, then its pictures.

        With a `base_url` the pictures are stored too, and have URLs. Closing the iterator drops the job. Raises as
        `answer` does.
        """
        _note(record, order)
        async with aclosing(self._dispatch.events(order, record)) as events:
            async for event in events:
                if isinstance(event, Progress):
                    yield event
                elif isinstance(event, Preview):
                    yield partial_image(order, operation, event)
                elif isinstance(event, Done):
                    for completed in await self._completed(order, operation, event.response, base_url, record):
                        yield completed

    async def _completed(
        self,
        order: Order,
        operation: Operation,
        response: PipelineResponse,
        base_url: str | None,
        record: RequestRecord,
    ) -> list[CompletedImage]:
        events = completed_images(order, operation, response)
        record.stages_s = response.stages_s
        if base_url is None:
            return events
        stored = await self._dispatch.store(order, response)
        record.stages_s = stored.stages_s
        return self._answers.linked(events, stored, base_url)


def _note(record: RequestRecord, order: Order) -> None:
    record.model, record.pictures = order.entry.name, len(order.job.seeds)
    record.details = {"size": f"{order.job.width_px}x{order.job.height_px}", "steps": order.job.steps}
