"""The model that an AUTOMATIC1111 client chose by `POST /sdapi/v1/options`, kept beside the pictures."""

from __future__ import annotations

import hashlib

from pydantic import BaseModel, ValidationError

from serve_app.catalog import Catalog, Entry
from serve_app.errors import UnknownModel
from serve_app.store import Store


class Choice(BaseModel):
    """What the store keeps."""

    model: str


class ModelChoice:
    """One choice for each API key. It stays until another is made: clients choose once, where they are set up."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    async def read(self, key_name: str) -> Entry:
        """The chosen model; the default where none is chosen, or one that is no longer served.

        Raises:
            StoreUnavailable, ServiceUnavailable
        """
        data = await self._store.read_record(_record_id(key_name))
        if data is None:
            return self._catalog.find(None)
        try:
            return self._catalog.find(Choice.model_validate_json(data).model)
        except (UnknownModel, ValidationError):  # one that can't be read is none
            return self._catalog.find(None)

    async def write(self, key_name: str, entry: Entry) -> None:
        """Chooses a model; raises as `read` does."""
        choice = Choice(model=entry.name)
        await self._store.write_record(_record_id(key_name), choice.model_dump_json().encode())


def _record_id(key_name: str) -> str:
    # Unlike the name of any other record: the sweeper leaves it alone.
    return f"{hashlib.sha256(f'model choice of {key_name}'.encode()).hexdigest()}.choice"
