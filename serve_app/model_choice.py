"""The model that an AUTOMATIC1111 client chose by `POST /sdapi/v1/options`, kept beside the pictures."""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress

from pydantic import BaseModel

from deployments.errors import ServiceError
from serve_app.catalog import Catalog, Entry
from serve_app.errors import UnknownModel
from serve_app.store import Store


class Choice(BaseModel):
    """What the store keeps."""

    model: str
    written_unix_s: float


class ModelChoice:
    """One choice for each API key. It is forgotten when it was not used for as long as pictures are kept."""

    def __init__(self, store: Store, catalog: Catalog, kept_s: float) -> None:
        """`kept_s`: how long the store keeps a record at least."""
        self._store = store
        self._catalog = catalog
        self._kept_s = kept_s

    async def read(self, key_name: str) -> Entry:
        """The chosen model; the default where none is chosen, or one that is no longer served.

        Raises:
            StoreUnavailable, ServiceUnavailable
        """
        data = await self._store.read_record(_record_id(key_name))
        if data is None:
            return self._catalog.find(None)
        choice = Choice.model_validate_json(data)
        try:
            entry = self._catalog.find(choice.model)
        except UnknownModel:
            return self._catalog.find(None)
        # Kept young, but rarely: another choice may come in between, and a full disk must not hinder a reader.
        if time.time() > choice.written_unix_s + self._kept_s / 2:
            with suppress(ServiceError):
                await self.write(key_name, entry)
        return entry

    async def write(self, key_name: str, entry: Entry) -> None:
        """Chooses a model; raises as `read` does."""
        choice = Choice(model=entry.name, written_unix_s=time.time())
        await self._store.write_record(_record_id(key_name), choice.model_dump_json().encode())


def _record_id(key_name: str) -> str:
    return f"{hashlib.sha256(f'model choice of {key_name}'.encode()).hexdigest()}.0.record"
