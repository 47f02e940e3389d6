"""The `Storage` deployment as the ingress sees it."""

from __future__ import annotations

from typing import Any

from ray.serve.handle import DeploymentHandle

from serve_app.remote_errors import translate


class Store:
    """Pictures and records. Every method raises StoreUnavailable or ServiceUnavailable where there is no answer."""

    def __init__(self, storage: DeploymentHandle[Any], retry_after_s: int) -> None:
        self._storage = storage
        self._retry_after_s = retry_after_s

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
            return await getattr(self._storage, method).remote(*arguments)
        except Exception as error:
            raise translate(error, self._retry_after_s) from error
