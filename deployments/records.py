"""Small records that are kept in the picture store, and as long as the pictures."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from obstore.exceptions import AlreadyExistsError

from deployments.errors import PictureNotFound, StoreUnavailable

if TYPE_CHECKING:
    from obstore.store import ObjectStore

logger = logging.getLogger("ray.serve.storage")

RECORD_ID = re.compile(r"[0-9a-f]{64}\.[0-9]{1,9}\.record")
"""What a record is about, hashed, and a number."""


class Records:
    """The records of a store. The replicas of a service meet here: of several that create a record, one does."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def create_record(self, record_id: str, data: bytes) -> bool:
        """Keeps a record under an id that has none, else says False.

        Raises:
            StoreUnavailable: the store is full, read-only or out of reach.
        """
        try:
            await self._store.put_async(record_id, data, mode="create", use_multipart=False)
        except AlreadyExistsError:
            return False
        except Exception as error:
            raise writing_failed(error) from error
        return True

    async def write_record(self, record_id: str, data: bytes) -> None:
        """Keeps a record, in the place of an older one; raises as `create_record` does."""
        try:
            await self._store.put_async(record_id, data, use_multipart=False)
        except Exception as error:
            raise writing_failed(error) from error

    async def read_record(self, record_id: str) -> bytes | None:
        """A record, None where there is none.

        Raises:
            StoreUnavailable: the store can't be read.
        """
        try:
            return bytes(await (await self._store.get_async(record_id)).bytes_async())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise reading_failed(record_id, error) from error

    async def delete_objects(self, ids: Sequence[str]) -> None:
        """Deletes records or pictures; what can't be deleted now goes with its age."""
        try:
            await self._store.delete_async(ids)
        except Exception:
            logger.warning("%d objects are left to the sweeper", len(ids), exc_info=True)


def writing_failed(error: BaseException) -> StoreUnavailable:
    """What the client is told; obstore raises built-in errors beside its own, with paths in their messages."""
    logger.error("the picture store could not be written", exc_info=error)
    return StoreUnavailable("The picture store could not be written: it may be full or out of reach.")


def reading_failed(object_id: str, error: Exception) -> PictureNotFound | StoreUnavailable:
    """Likewise."""
    if isinstance(error, FileNotFoundError):
        return PictureNotFound("There is no such picture.")
    logger.error("%s could not be read", object_id, exc_info=error)
    return StoreUnavailable("The picture store could not be read.")
