"""The `Storage` deployment as the ingress sees it."""

from __future__ import annotations

import asyncio
from typing import Any

from ray.serve.handle import DeploymentHandle

from serve_app.errors import ServiceUnavailable
from serve_app.remote_errors import translate

ANSWER_TIMEOUT_S = 30.0
"""Longer than a bucket's own retries take."""


class Store:
    """Pictures and records. Every method raises StoreUnavailable or ServiceUnavailable where there is no answer."""

    def __init__(self, storage: DeploymentHandle[Any], retry_after_s: int, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """`timeout_s`: a call that takes longer is given up."""
        self._storage = storage
        self._retry_after_s = retry_after_s
        self._timeout_s = timeout_s

    async def picture(self, picture_id: str) -> bytes:
        """The bytes of a picture.

        Raises:
            PictureNotFound: there is none, or no longer.
        """
        data: bytes = await self._call("get", picture_id)
        return data

    async def create_record(self, record_id: str, data: bytes) -> bool:
        """Keeps a record under an id that has none, else says False."""
        is_created: bool = await self._call("create_record", record_id, data)
        return is_created

    async def write_record(self, record_id: str, data: bytes) -> None:
        """Keeps a record, in the place of an older one."""
        await self._call("write_record", record_id, data)

    async def read_record(self, record_id: str) -> bytes | None:
        """A record, None where there is none."""
        data: bytes | None = await self._call("read_record", record_id)
        return data

    async def delete_record(self, record_id: str) -> None:
        """Forgets a record."""
        await self._call("delete_objects", [record_id])

    async def _call(self, method: str, *arguments: object) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await getattr(self._storage, method).remote(*arguments)
        except TimeoutError:
            raise ServiceUnavailable(f"The picture store has not answered for {self._timeout_s:g} s.") from None
        except Exception as error:
            raise translate(error, self._retry_after_s) from error
