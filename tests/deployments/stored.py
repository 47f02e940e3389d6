"""A response to store, and whether its store is well."""

from __future__ import annotations

from deployments.contracts import Picture, PipelineResponse
from deployments.errors import StoreUnavailable
from deployments.storage import Storage

PICTURES = (Picture(b"one", "png", 7), Picture(b"two" * 100, "jpeg", 8), Picture(b"three", "webp", 9))
RESPONSE = PipelineResponse(PICTURES, {"denoise": 1.5}, prompt_tokens=3)
OLD_ID = "0123456789abcdef0123456789abcdef.png"


def healthy(storage: Storage) -> bool:
    try:
        storage.check_health()
    except StoreUnavailable:
        return False
    return True
