"""The README's table of settings, made from the code: `python -m tests.settings_table` prints it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from serve_app.config import AppConfig


def rows(model: type[BaseModel] = AppConfig, prefix: str = "") -> Iterator[str]:
    """A Markdown row for each setting: its path, its default, its description."""
    for name, field in model.model_fields.items():
        nested = _settings_in(field.annotation)
        if nested is None:
            yield f"| `{prefix}{name}` | {_default(field.default)} | {field.description} |"
        else:
            holder, settings = nested
            yield from rows(settings, f"{prefix}{name}{holder}.")


def _settings_in(annotation: Any) -> tuple[str, type[BaseModel]] | None:
    """The settings class that a field holds, and how its path goes on: itself, in a list, or in a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "", annotation
    for argument in get_args(annotation):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return ("[]" if getattr(annotation, "__origin__", None) is list else ".NAME"), argument
    return None


def _default(value: object) -> str:
    if value is PydanticUndefined:
        return "required"
    return f"`{value}`" if value is not None else "none"


if __name__ == "__main__":
    sys.stdout.write("\n".join(rows()) + "\n")
