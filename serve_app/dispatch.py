"""Order → the pipeline that draws it: within its deadline, and once more when the replica is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple, TypeVar

from ray.serve.handle import DeploymentHandle, DeploymentResponse, DeploymentResponseGenerator

from deployments.contracts import Event, PipelineResponse, Preview, StoredResponse
from deployments.errors import DeadlineExceeded
from deployments.jobs import ImageEditJob, PoseControlJob
from serve_app.config import LimitsConfig
from serve_app.jobs import Order
from serve_app.records import RequestRecord
from serve_app.remote_errors import REPLICA_LOST, translate, unwrap

T = TypeVar("T")


class Pipelines(NamedTuple):
    """Handles of one model's deployments."""

    text_to_image: DeploymentHandle[Any]
    image_edit: DeploymentHandle[Any]
    pose_control: DeploymentHandle[Any] | None

    def of(self, order: Order) -> DeploymentHandle[Any]:
        """The one that draws an order."""
        if isinstance(order.job, ImageEditJob):
            return self.image_edit
        if isinstance(order.job, PoseControlJob):
            assert self.pose_control is not None, "JobBuilder refuses poses for models without a ControlNet"
            return self.pose_control
        return self.text_to_image


class Dispatch:
    """Sends jobs to the pipelines.

    A job whose replica is lost is sent once more: the same job gives the same picture. Every method raises the API's
    own errors: QueueFull, DeadlineExceeded, ServiceUnavailable, JobError, GenerationFailed, StoreUnavailable.
    """

    def __init__(
        self, pipelines: Mapping[str, Pipelines], storage: DeploymentHandle[Any], limits: LimitsConfig
    ) -> None:
        """`pipelines` by model id."""
        self._pipelines = pipelines
        self._streaming = {
            model_id: Pipelines(*(handle and handle.options(stream=True) for handle in handles))
            for model_id, handles in pipelines.items()
        }
        self._storage = storage
        self._limits = limits

    async def draw(self, order: Order, record: RequestRecord) -> StoredResponse | PipelineResponse:
        """The pictures, stored where the order asks for URLs. Cancelling the call drops the job."""
        try:
            return await self._in_time(order, self._send(order))
        except Exception as error:
            if not isinstance(unwrap(error), REPLICA_LOST):
                raise self._translate(error) from error
        record.retries += 1
        return await self.translated(self._in_time(order, self._send(order)))

    async def events(self, order: Order, record: RequestRecord) -> AsyncGenerator[Event, None]:
        """The job's events as they come, `Done` last. Closing the iterator drops the job.

        Previews that came before a replica was lost are not repeated.
        """
        seen: set[tuple[int, int]] = set()
        for is_last_try in (False, True):
            try:
                async with aclosing(self._stream(order)) as events:
                    async for event in events:
                        if isinstance(event, Preview):
                            key = (event.picture_index, event.index)
                            if key in seen:
                                continue
                            seen.add(key)
                        yield event
                return
            except Exception as error:
                if is_last_try or not isinstance(unwrap(error), REPLICA_LOST):
                    raise self._translate(error) from error
                record.retries += 1

    async def store(self, order: Order, response: PipelineResponse) -> StoredResponse:
        """Keeps pictures that were streamed."""
        stored: StoredResponse = await self.translated(self._in_time(order, self._storage.put.remote(response)))
        return stored

    async def translated(self, response: Awaitable[T]) -> T:
        """Awaits the response of any deployment."""
        try:
            return await response
        except Exception as error:
            raise self._translate(error) from error

    async def _send(self, order: Order) -> StoredResponse | PipelineResponse:
        handle = self._pipelines[order.entry.model.id].of(order)
        drawn: DeploymentResponse[Any] = handle.draw.remote(order.job)
        # The response itself goes to storage: the bytes pass through Ray's object store and not through this process.
        response = self._storage.put.remote(drawn) if order.response_format == "url" else drawn
        result: StoredResponse | PipelineResponse = await response
        return result

    async def _stream(self, order: Order) -> AsyncGenerator[Event, None]:
        handle = self._streaming[order.entry.model.id].of(order)
        responses: DeploymentResponseGenerator[Event] = handle.stream.remote(order.job)
        try:
            while True:
                try:
                    yield await self._in_time(order, anext(responses))
                except StopAsyncIteration:
                    return
        except (GeneratorExit, asyncio.CancelledError, DeadlineExceeded):
            responses.cancel()  # nobody waits for the rest
            raise

    async def _in_time(self, order: Order, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(order.job.deadline_unix_s - time.time()):
                return await work
        except TimeoutError:
            timeout_s = self._limits.request_timeout_s
            raise DeadlineExceeded(f"The pictures were not done within {timeout_s:g} s.") from None

    def _translate(self, error: Exception) -> Exception:
        return translate(error, self._limits.retry_after_s)
