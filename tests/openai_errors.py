"""What every error answer must look like."""

from __future__ import annotations

import re
from typing import Any

import httpx

INTERNALS = re.compile(
    r"Traceback|File \"|\.py\b|pid=|/tmp/|site-packages|\b(?:\d{1,3}\.){3}\d{1,3}:\d+|ray::|RayTaskError"
)


def assert_openai_error(answer: httpx.Response, status: int, code: str | None = None, param: str | None = None) -> str:
    """Checks an error's status and shape, and that it shows nothing internal. Returns its message."""
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] in {"invalid_request_error", "rate_limit_error", "server_error"}
    if code is not None:
        assert error["code"] == code
    if param is not None:
        assert error["param"] == param
    assert answer.headers["x-request-id"]
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert not INTERNALS.search(answer.text), answer.text
    message: str = error["message"]
    assert message
    return message
