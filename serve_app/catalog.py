"""The served names: which model answers each, and what the name means."""

from __future__ import annotations

import time
from typing import Literal, NamedTuple, get_args

from deployments.jobs import PictureFormat
from deployments.schedulers import SCHEDULERS
from serve_app.config import AppConfig, LimitsConfig, ModelConfig, ServedName
from serve_app.errors import UnknownModel
from serve_app.responses import Capabilities, ModelList, ModelObject
from serve_app.schemas import COUNT_MAX, short


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
        self._limits = config.limits
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
        """The wire form of one name, with what it can do.

        Raises:
            UnknownModel: listing the served names.
        """
        entry = self.find(name)
        return self._model_object(entry).model_copy(update={"capabilities": _capabilities(entry, self._limits)})

    def model_list(self) -> ModelList:
        """The wire form of all names."""
        return ModelList(data=[self._model_object(entry) for entry in self._entries.values()])

    def _model_object(self, entry: Entry) -> ModelObject:
        return ModelObject(id=entry.name, created=self._since, owned_by=entry.model.id)


def _capabilities(entry: Entry, limits: LimitsConfig) -> Capabilities:
    served, model = entry.served, entry.model
    tasks: list[Literal["generation", "edit", "variation", "pose"]] = ["generation", "variation"]
    if served.task == "auto":
        tasks.append("edit")
    if model.poses:
        tasks.append("pose")
    presets = {name: preset.model_dump() for name, preset in model.presets.items()}
    return Capabilities(
        tasks=tasks,
        sizes=[*model.sizes, *served.sizes],
        default_size=model.default_size,
        qualities={**presets, **{name: presets[preset] for name, preset in served.qualities.items()}},
        default_quality=served.default_quality or model.default_quality,
        styles=[*model.styles],
        input_fidelities=[*model.input_fidelities],
        schedulers=[*SCHEDULERS],
        output_formats=[*get_args(PictureFormat)],
        response_format=served.response_format,
        n_means=served.n_means,
        masks=served.task == "auto",
        previews=True,
        limits={
            "n": COUNT_MAX,
            "steps": model.max_steps,
            "partial_images": 3,
            "prompt_chars": limits.max_prompt_chars,
            "body_bytes": limits.max_body_bytes,
            "image_pixels": limits.max_image_pixels,
            "request_timeout_s": limits.request_timeout_s,
            "input_images": 1,
        },
    )
