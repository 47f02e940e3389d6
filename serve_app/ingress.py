"""Ingress: wire → job → pipeline → storage → wire."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import SecretStr
from ray.serve.handle import DeploymentHandle, DeploymentResponse
from starlette.types import ASGIApp

from deployments.contracts import (
    DeadlineExceeded,
    ImageEditJob,
    PipelineResponse,
    PoseControlJob,
    StoredPicture,
    StoredResponse,
)
from serve_app.access import KeyRing
from serve_app.catalog import Catalog
from serve_app.config import AppConfig
from serve_app.health import GraphHealth
from serve_app.jobs import JobBuilder, Order
from serve_app.metrics import Metrics
from serve_app.records import RequestRecord
from serve_app.remote_errors import REPLICA_LOST, translate, unwrap
from serve_app.schemas import ImageObject, ImagesResponse
from serve_app.signing import UrlSigner

T = TypeVar("T")

logger = logging.getLogger("ray.serve")


class Pipelines(NamedTuple):
    """Handles of one model's deployments."""

    text_to_image: DeploymentHandle[Any]
    image_edit: DeploymentHandle[Any]
    pose_control: DeploymentHandle[Any] | None


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
        self.signer = UrlSigner(url_keys, config.storage.url_ttl_s)
        self.keys = KeyRing(Path(config.access.key_file)) if config.access.key_file else None
        if self.keys is None:
            logger.warning("No API keys are configured (access.key_file): only this machine is served.")
        self.metrics = Metrics()
        self.health = GraphHealth(deployment_models)
        self._pipelines = pipelines
        self._storage = storage

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Ray Serve asks for the app on the replica, after the constructor."""
        from serve_app.api import create_api

        return create_api(self)

    async def answer(self, order: Order, base_url: str, record: RequestRecord) -> ImagesResponse:
        """Draws an order and answers with its pictures, or with the URLs where they are.

        Raises:
            QueueFull, DeadlineExceeded, ServiceUnavailable, JobError, GenerationFailed, StoreUnavailable
        """
        record.model, record.pictures = order.entry.name, len(order.job.seeds)
        as_url = order.response_format == "url"
        response = await self._within_deadline(order, self._draw_twice(order, store=as_url, record=record))
        record.stages_s = response.stages_s
        created = int(time.time())
        if isinstance(response, StoredResponse):
            data = [ImageObject(url=self._url(base_url, p, created), seed=p.seed) for p in response.pictures]
            pose = {"url_pose": self._url(base_url, response.skeleton, created)} if response.skeleton else {}
        else:
            data = [ImageObject(b64_json=_base64(p.data), seed=p.seed) for p in response.pictures]
            pose = {"b64_json_pose": _base64(response.skeleton.data)} if response.skeleton else {}
        return ImagesResponse(created=created, data=[image.model_copy(update=pose) for image in data])

    async def picture(self, picture_id: str) -> bytes:
        """The bytes of a stored picture.

        Raises:
            PictureNotFound, StoreUnavailable, ServiceUnavailable
        """
        data: bytes = await self._translated(self._storage.get.remote(picture_id))
        return data

    async def _draw_twice(self, order: Order, store: bool, record: RequestRecord) -> StoredResponse | PipelineResponse:
        """A job whose replica is lost is sent once more: the same job gives the same picture."""
        try:
            return await self._draw(order, store)
        except Exception as error:
            if not isinstance(unwrap(error), REPLICA_LOST):
                raise self._translate(error) from error
            record.retries += 1
        response: StoredResponse | PipelineResponse = await self._translated(self._draw(order, store))
        return response

    def _draw(self, order: Order, store: bool) -> DeploymentResponse[Any]:
        pipelines = self._pipelines[order.entry.model.id]
        pipeline: DeploymentHandle[Any] | None = pipelines.text_to_image
        if isinstance(order.job, ImageEditJob):
            pipeline = pipelines.image_edit
        elif isinstance(order.job, PoseControlJob):
            pipeline = pipelines.pose_control
        assert pipeline is not None, "JobBuilder refuses poses for models without a ControlNet"
        response: DeploymentResponse[Any] = pipeline.draw.remote(order.job)
        # The response itself goes to storage: the bytes pass through Ray's object store and not through this process.
        return self._storage.put.remote(response) if store else response

    async def _within_deadline(self, order: Order, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(order.job.deadline_unix_s - time.time()):
                return await work
        except TimeoutError:
            timeout_s = self.config.limits.request_timeout_s
            raise DeadlineExceeded(f"The pictures were not done within {timeout_s:g} s.") from None

    async def _translated(self, response: Awaitable[T]) -> T:
        try:
            return await response
        except Exception as error:
            raise self._translate(error) from error

    def _translate(self, error: Exception) -> Exception:
        return translate(error, self.config.limits.retry_after_s)

    def _url(self, base_url: str, picture: StoredPicture, created: int) -> str:
        base = (self.config.public_url or base_url).rstrip("/")
        return f"{base}/images/{picture.id}?{self.signer.sign(picture.id, created)}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
