"""The served names: which model answers each, and what the name means."""

from __future__ import annotations

import time
from typing import NamedTuple

from serve_app.config import AppConfig, ModelConfig, ServedName
from serve_app.errors import UnknownModel
from serve_app.schemas import ModelList, ModelObject, short


class Entry(NamedTuple):
    """A served name."""

    name: str
    served: ServedName
    model: ModelConfig


class Catalog:
    """All served names, in the configuration's order; the first is the default."""

    def __init__(self, config: AppConfig) -> None:
        self._entries = {
            name: Entry(name, served, model) for model in config.models for name, served in model.names.items()
        }
        self._since = int(time.time())

    def find(self, name: object) -> Entry:
        """The entry of a request's `model`, the default where it is None.

        Raises:
            UnknownModel: listing the served names.
        """
        if name is None:
            return next(iter(self._entries.values()))
        if not isinstance(name, str) or name not in self._entries:
            served = ", ".join(self._entries)
            raise UnknownModel(f"The model {short(name)} does not exist. Served models: {served}.", "model")
        return self._entries[name]

    def model_object(self, name: str) -> ModelObject:
        """The wire form of one name."""
        entry = self.find(name)
        return ModelObject(id=entry.name, created=self._since, owned_by=entry.model.id)

    def model_list(self) -> ModelList:
        """The wire form of all names."""
        return ModelList(data=[self.model_object(name) for name in self._entries])
