"""Keeps pictures while their URLs work, and hands them out by id."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import threading
import time
from collections.abc import Sequence
from typing import get_args

from ray import serve
from ray.serve.exceptions import RayServeException

from deployments.contracts import Picture, PipelineResponse, StoredPicture, StoredResponse
from deployments.errors import PictureNotFound, StoreUnavailable
from deployments.jobs import PictureFormat
from deployments.records import RECORD_ID, Records, reading_failed, writing_failed
from deployments.store_config import StorageConfig
from deployments.sweeper import Sweeper

__all__ = ["PICTURE_ID", "Storage", "StorageConfig", "media_type"]

logger = logging.getLogger("ray.serve.storage")

PICTURE_ID = re.compile(rf"[0-9a-f]{{32}}\.(?:{'|'.join(get_args(PictureFormat))})")
"""128 random bits in hex and the picture's format: nothing of the request, and no path but the store's own."""

SWEPT = re.compile(f"{PICTURE_ID.pattern}|{RECORD_ID.pattern}")
"""Names of what is deleted with its age; whatever else is in the store stays."""


def media_type(picture_id: str) -> str:
    """The `Content-Type` of the picture with this id."""
    return f"image/{picture_id.rpartition('.')[2]}"


class Storage(Records):
    """The deployment that keeps pictures and records, in a folder or a bucket."""

    def __init__(self, config: StorageConfig) -> None:
        """Opens the store and starts to delete expired pictures, those of earlier runs among them.

        Raises:
            ValueError: there are several replicas, or may be, and each would see pictures of its own.
            OSError: the local folder can't be made or written. A bucket may be out of reach for a while only: what is
                wrong with it goes into the log.
        """
        config.check_replicas(_max_replicas())
        config.check_folder()
        super().__init__(config.open())
        if config.folder is None:
            # In a thread, as the sweeper: the replica does not wait for the bucket.
            threading.Thread(target=self._probe, args=(config.location,), name="bucket-probe", daemon=True).start()
        self._sweeper = Sweeper(
            self._store,
            folder=config.folder,
            names=SWEPT,
            keep_s=config.keep_s,
            interval_s=config.sweep_interval_s,
        )
        self._sweeper.start()

    def __del__(self) -> None:
        """Serve calls this when the replica stops."""
        if hasattr(self, "_sweeper"):
            self._sweeper.stop()

    async def put(self, response: PipelineResponse) -> StoredResponse:
        """Stores all pictures of a response, and its skeleton, or none of them.

        Returns:
            The response with ids for the bytes, and the seconds this took as stage `store`.

        Raises:
            StoreUnavailable: the store is full, read-only or out of reach. Nothing of the response is left in it.
        """
        started_s = time.perf_counter()
        skeleton = () if response.skeleton is None else (response.skeleton,)
        stored = await self._put_all((*response.pictures, *skeleton))
        return StoredResponse(
            pictures=stored[: len(response.pictures)],
            stages_s={**response.stages_s, "store": time.perf_counter() - started_s},
            prompt_tokens=response.prompt_tokens,
            skeleton=stored[-1] if skeleton else None,
        )

    async def get(self, picture_id: str) -> bytes:
        """The bytes of a picture.

        Raises:
            PictureNotFound: there is no such picture, or no longer.
            StoreUnavailable: the store can't be read.
        """
        _check_id(picture_id)
        try:
            found = await self._store.get_async(picture_id)
            return bytes(await found.bytes_async())
        except Exception as error:
            raise reading_failed(picture_id, error) from error

    async def head(self, picture_id: str) -> int:
        """The size of a picture in bytes; raises as `get` does."""
        _check_id(picture_id)
        try:
            return (await self._store.head_async(picture_id))["size"]
        except Exception as error:
            raise reading_failed(picture_id, error) from error

    def check_health(self) -> None:
        """Raises when the sweeper has died. A store out of reach is no reason: replacing the replica helps nothing."""
        if not self._sweeper.alive:
            raise StoreUnavailable("The picture store no longer deletes expired pictures.")

    def _probe(self, location: str) -> None:
        """Writes and deletes an object; the sweeper deletes it with its age where this can't."""
        probe_id = f"{secrets.token_hex(16)}.png"
        try:
            self._store.put(probe_id, b"", use_multipart=False)
            self._store.delete([probe_id])
        except Exception:
            logger.exception("pictures can't be kept: an object could not be written to %s and deleted again", location)

    async def _put_all(self, pictures: Sequence[Picture]) -> tuple[StoredPicture, ...]:
        stored = tuple(StoredPicture(f"{secrets.token_hex(16)}.{picture.format}", picture.seed) for picture in pictures)
        results = await asyncio.gather(
            *(self._put_one(to.id, picture.data) for to, picture in zip(stored, pictures, strict=True)),
            return_exceptions=True,
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        if failures:
            await self.delete_objects([to.id for to, result in zip(stored, results, strict=True) if result is None])
            raise writing_failed(failures[0])
        return stored

    async def _put_one(self, picture_id: str, data: bytes) -> None:
        # One request a picture: atomic in a bucket, a rename in a folder, and no parts left over by an interruption.
        await self._store.put_async(picture_id, data, use_multipart=False)


def _max_replicas() -> int:
    """How many replicas Serve runs, or may run as it scales the deployment; 1 outside Serve."""
    try:
        context = serve.get_replica_context()
    except RayServeException:
        return 1
    scaling = context._deployment_config.autoscaling_config
    return max(int(context.world_size), int(scaling.max_replicas) if scaling else 1)


def _check_id(picture_id: str) -> None:
    if not PICTURE_ID.fullmatch(picture_id):
        raise PictureNotFound("There is no such picture.")
