"""Reading request bodies: JSON and multipart, to plain fields and files."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from fastapi import Request
from pydantic_core import from_json
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from serve_app.errors import InvalidRequest, UnsupportedMediaType
from serve_app.schemas import short

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")

MAX_JSON_VALUES = 100_000
"""A value of a byte or two takes forty times its size in memory. Base64 has none of the signs that are counted."""

NUMERIC_FIELDS = frozenset(
    {"n", "seed", "steps", "guidance_scale", "strength", "controlnet_scale", "output_compression", "partial_images"}
)
"""Form values are text; these become numbers where they look like one. Text stays text and is refused by its type."""

BOOLEAN_FIELDS = frozenset({"stream"})
"""Likewise, for true and false."""


class Form(NamedTuple):
    """A multipart body."""

    fields: dict[str, Any]
    files: dict[str, list[bytes]]


async def read_json(request: Request) -> dict[str, Any]:
    """The body as an object, without its null values.

    Raises:
        UnsupportedMediaType: the content type is not application/json.
        InvalidRequest: malformed JSON (NaN, lone surrogates and endless nesting included), not an object, or one of
            too many values.
        BodyTooLarge, BodyTooSlow: see `body_limit.py`.
    """
    if media_type(request) != "application/json":
        raise UnsupportedMediaType(f"Send Content-Type: application/json; got {media_type(request)!r}.")
    body = await request.body()
    if sum(body.count(sign) for sign in (b"[", b"{", b",")) > MAX_JSON_VALUES:
        raise InvalidRequest(f"The body has more than {MAX_JSON_VALUES} values.")
    try:
        fields = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.") from None
    if not isinstance(fields, dict):
        raise InvalidRequest(f"The body must be a JSON object; got {type(fields).__name__}.")
    return {name: value for name, value in fields.items() if value is not None}


async def read_form(request: Request, max_files: int = 32) -> Form:
    """The body's text fields, without empty ones, and its files by field name (`image[]` counts as `image`).

    Raises:
        UnsupportedMediaType: the content type is not multipart/form-data, or its text is not in UTF-8.
        InvalidRequest: broken multipart, a field given twice.
        BodyTooLarge, BodyTooSlow: see `body_limit.py`.
    """
    if media_type(request) != "multipart/form-data":
        raise UnsupportedMediaType(f"Send Content-Type: multipart/form-data; got {media_type(request)!r}.")
    # Starlette hands it to `bytes.decode`, where some codecs take minutes and others give lone surrogates.
    charset = parse_options_header(request.headers["content-type"])[1].get(b"charset", b"utf-8")
    if charset.lower() not in (b"utf-8", b"utf8", b"us-ascii"):
        raise UnsupportedMediaType(f"Send the fields in UTF-8; got the charset {short(charset.decode('latin-1'))}.")
    form = Form({}, {})
    try:
        async with request.form(max_files=max_files, max_fields=256) as parts:
            for name, value in parts.multi_items():
                if isinstance(value, UploadFile):
                    form.files.setdefault(name.removesuffix("[]"), []).append(await value.read())
                elif value:
                    if name in form.fields:
                        raise InvalidRequest(f"'{name[:64]}' is given twice.", name[:64])
                    form.fields[name] = _typed(name, value)
    except (MultiPartException, HTTPException, FormParserError, ValueError, KeyError) as error:
        raise InvalidRequest("The body is not valid multipart/form-data.") from error
    return form


def _typed(name: str, text: str) -> object:
    if name in BOOLEAN_FIELDS:
        return {"true": True, "false": False}.get(text.lower(), text)
    return _number(text) if name in NUMERIC_FIELDS else text


def _number(text: str) -> int | float | str:
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def media_type(request: Request) -> str:
    """The body's content type, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()[:80]
