"""A request's values against what its model offers. Every function raises `InvalidRequest` naming the field."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from deployments.jobs import Encoding
from serve_app.catalog import Entry
from serve_app.config import Preset, Style
from serve_app.errors import InvalidRequest
from serve_app.schemas import COUNT_MAX, SEED_MAX, ImagesRequest, PromptRequest, invalid, short

T = TypeVar("T")
StyleT = TypeVar("StyleT", bound=Style)


class Size(NamedTuple):
    """Of a picture."""

    width_px: int
    height_px: int

    @classmethod
    def of(cls, text: str) -> Size:
        """Reads `WIDTHxHEIGHT`."""
        width_px, height_px = text.split("x")
        return cls(int(width_px), int(height_px))


def sizes(wire: ImagesRequest, entry: Entry) -> tuple[Size, Size]:
    """The size of the finished picture, and the one it is drawn at."""
    offered = entry.model.sizes
    size = _choose("size", wire.size, entry.model.default_size, entry.served.sizes, offered)
    return Size.of(size), Size.of(offered[size])


def quality(wire: ImagesRequest, entry: Entry) -> str:
    """The word for the request's quality: its own, else the served name's or the model's default."""
    return wire.quality or entry.served.default_quality or entry.model.default_quality


def preset(wire: ImagesRequest, entry: Entry) -> Preset:
    """What the request's quality stands for."""
    presets = entry.model.presets
    word = quality(wire, entry)
    return presets[_choose("quality", word, entry.model.default_quality, entry.served.qualities, presets)]


def override(field: str, value: str | None, configured: Mapping[str, StyleT], nothing: StyleT) -> StyleT:
    """What a `style` or an `input_fidelity` changes."""
    if value is None:
        return nothing
    if not configured:
        raise InvalidRequest(f"'{field}' is not configured for this model; leave it out.", field)
    check_known(field, value, configured)
    return configured[value]


def seeds(wire: ImagesRequest, entry: Entry) -> tuple[int, ...]:
    """One a picture: picture k is drawn with the first seed plus k."""
    n_is_seed = entry.served.n_means == "seed" and wire.seed is None
    count = 1 if n_is_seed or wire.n is None else wire.n
    if not 1 <= count <= COUNT_MAX:
        raise invalid("n", wire.n, f"a whole number from 1 to {COUNT_MAX}")
    first = wire.n if n_is_seed else wire.seed
    if first is None:
        first = secrets.randbelow(SEED_MAX - COUNT_MAX)
    if first + count - 1 > SEED_MAX:
        raise InvalidRequest(f"'seed' + 'n' - 1 must be at most {SEED_MAX}; got {short(first)} and {count}.", "seed")
    return tuple(range(first, first + count))


def encoding(wire: ImagesRequest, parameters: dict[str, str]) -> Encoding:
    """How the pictures are written; `parameters` go into a PNG."""
    picture_format = wire.output_format or "png"
    if wire.output_compression is None:
        return Encoding(format=picture_format, parameters=parameters)
    if picture_format == "png":
        raise InvalidRequest(
            "'output_compression' needs 'output_format' jpeg or webp; png is lossless.", "output_compression"
        )
    return Encoding(format=picture_format, compression=wire.output_compression, parameters=parameters)


def previews(wire: ImagesRequest) -> int:
    """How many previews of each picture are streamed."""
    if not isinstance(wire, PromptRequest):
        return 0
    if wire.partial_images and not wire.stream:
        raise InvalidRequest("'partial_images' needs 'stream': true.", "partial_images")
    return wire.partial_images or 0


def check_length(field: str, text: str, max_chars: int) -> None:
    """Refuses a text that is too long."""
    if len(text) > max_chars:
        raise InvalidRequest(f"'{field}' has {len(text)} characters; at most {max_chars} are allowed.", field)


def check_known(field: str, value: str | None, known: Mapping[str, object]) -> None:
    """Refuses a word that is not in a table; no word is fine."""
    if value is not None and value not in known:
        raise invalid(field, value, f"one of {', '.join(known)}")


def first_set(*values: T | None) -> T:
    """The first value that is given; the last one always is."""
    return next(value for value in values if value is not None)


def _choose(
    field: str, value: str | None, default: str, aliases: Mapping[str, str], offered: Mapping[str, object]
) -> str:
    """The model's own value for a request's size or quality."""
    if value is None or (value == "auto" and "auto" not in {**offered, **aliases}):
        return default
    chosen = aliases.get(value, value)
    if chosen not in offered:
        raise invalid(field, value, f"one of {', '.join([*offered, *aliases])}, or auto")
    return chosen
