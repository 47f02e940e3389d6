"""A response to store, and what tests of a store wait for."""

from __future__ import annotations

import time
from collections.abc import Callable

from deployments.contracts import Picture, PipelineResponse
from deployments.errors import StoreUnavailable
from deployments.storage import Storage

PICTURES = (Picture(b"one", "png", 7), Picture(b"two" * 100, "jpeg", 8), Picture(b"three", "webp", 9))
RESPONSE = PipelineResponse(PICTURES, {"denoise": 1.5}, prompt_tokens=3)
OLD_ID = "0123456789abcdef0123456789abcdef.png"


def eventually(holds: Callable[[], bool], within_s: float = 5) -> None:
    deadline_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline_s, "it did not come to hold in time"
        time.sleep(0.01)


def healthy(storage: Storage) -> bool:
    try:
        storage.check_health()
    except StoreUnavailable:
        return False
    return True
