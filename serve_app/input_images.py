"""The pictures of a JSON edit: `data:` URLs and this service's own image URLs. Nothing is fetched from the network."""

from __future__ import annotations

import base64
import binascii
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from deployments.errors import PictureNotFound
from serve_app.bodies import Form
from serve_app.errors import InvalidRequest
from serve_app.schemas import short
from serve_app.signing import UrlExpired, UrlForged

if TYPE_CHECKING:
    from serve_app.ingress import Ingress

_MAX_URL_CHARS = 2048  # an image URL of this service has some 200

_DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)


async def read_inline_form(fields: dict[str, Any], ingress: Ingress) -> Form:
    """A JSON edit as the multipart form it stands for: `images` and `mask` as files, the rest as fields.

    Raises:
        InvalidRequest: naming the picture, and what is allowed.
        StoreUnavailable, ServiceUnavailable: a picture of this service can't be read now.
    """
    fields = dict(fields)
    images, mask = fields.pop("images", []), fields.pop("mask", None)
    if not isinstance(images, list):
        raise InvalidRequest(f"'images' must be a list of one object with 'image_url'; got {short(images)}.", "images")
    if len(images) > 1:
        raise more_than_one(len(images), "images")
    files = {"image": [await _read(image, f"images[{k}]", ingress) for k, image in enumerate(images)]}
    if mask is not None:
        files["mask"] = [await _read(mask, "mask", ingress)]
    return Form(fields, files)


def more_than_one(count: int, param: str) -> InvalidRequest:
    """The error for several input pictures."""
    return InvalidRequest(f"The model edits one image at a time; got {count}.", param)


def decode_base64(text: str, param: str) -> bytes:
    """A picture in base64, alone or in a `data:` URL.

    Raises:
        InvalidRequest: it is no base64.
    """
    prefix = _DATA_URL.match(text)
    try:
        return base64.b64decode(text[prefix.end() if prefix else 0 :], validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(f"'{param}' is not valid base64.", param) from None


async def _read(reference: Any, param: str, ingress: Ingress) -> bytes:
    if not isinstance(reference, dict) or reference.keys() != {"image_url"}:
        if isinstance(reference, dict) and "file_id" in reference:
            raise InvalidRequest("'file_id' is not supported: this server keeps no files; send 'image_url'.", param)
        raise InvalidRequest(f"'{param}' must be an object with 'image_url' alone; got {short(reference)}.", param)
    url = reference["image_url"]
    param = f"{param}.image_url"
    if not isinstance(url, str):
        raise InvalidRequest(f"'{param}' must be text; got {short(url)}.", param)
    if _DATA_URL.match(url):
        return decode_base64(url, param)
    return await _own_picture(url, param, ingress)


async def _own_picture(url: str, param: str, ingress: Ingress) -> bytes:
    """The picture behind an image URL of this service: whoever holds one may see it, until it expires."""
    foreign = InvalidRequest(
        f"'{param}' must be a data: URL with base64, or an unexpired image URL of this server: it fetches nothing from "
        f"the network. Got {short(url)}.",
        param,
    )
    if len(url) > _MAX_URL_CHARS:
        raise foreign
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
    except ValueError:
        raise foreign from None
    picture_id = parts.path.rpartition("/images/")[2]
    expires, signature = (query.get(name, [""])[0] for name in ("expires", "signature"))
    try:
        ingress.signer.verify(picture_id, expires, signature, time.time())
        return await ingress.store.picture(picture_id)
    except UrlForged:
        raise foreign from None
    except (UrlExpired, PictureNotFound) as error:
        raise InvalidRequest(f"'{param}': {error.message}", param) from None
