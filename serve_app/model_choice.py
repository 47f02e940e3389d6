"""The model that an AUTOMATIC1111 client chose by `POST /sdapi/v1/options`, kept beside the pictures."""

from __future__ import annotations

import hashlib

from serve_app.catalog import Catalog, Entry
from serve_app.errors import UnknownModel
from serve_app.store import Store


class ModelChoice:
    """One choice for each API key. It is forgotten when it was not used for as long as pictures are kept."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self._store = store
        self._catalog = catalog

    async def read(self, key_name: str) -> Entry:
        """The chosen model; the default where none is chosen, or one that is no longer served.

        Raises:
            StoreUnavailable, ServiceUnavailable
        """
        chosen = await self._store.read_record(_record_id(key_name))
        if chosen is None:
            return self._catalog.find(None)
        try:
            entry = self._catalog.find(chosen.decode())
        except UnknownModel:
            return self._catalog.find(None)
        await self.write(key_name, entry)  # as young as its last use
        return entry

    async def write(self, key_name: str, entry: Entry) -> None:
        """Chooses a model; raises as `read` does."""
        await self._store.write_record(_record_id(key_name), entry.name.encode())


def _record_id(key_name: str) -> str:
    return f"{hashlib.sha256(f'model choice of {key_name}'.encode()).hexdigest()}.0.record"
