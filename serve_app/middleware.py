"""What every request passes before its route: the log line and the metrics."""

from __future__ import annotations

import asyncio
import json
import logging
import time

from fastapi import Request
from ray.exceptions import TaskCancelledError
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.errors import error_response, request_id_of
from serve_app.metrics import Metrics
from serve_app.records import RequestRecord

logger = logging.getLogger("ray.serve")

CLIENT_LEFT = (asyncio.CancelledError, ClientDisconnect, TaskCancelledError)
"""While it was waited for: a job, the rest of a body, and the same by Serve, which cancels its call to the proxy."""


class RequestLog:
    """One log line and one observation a request; answers an exception that nothing else has answered.

    The route finds the request's `RequestRecord` in `request.state.record`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record, request, start_s = RequestRecord(), Request(scope), time.perf_counter()
        scope.setdefault("state", {})["record"] = record
        status = 0

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except CLIENT_LEFT as error:
            status = status or 499
            self._metrics.observe_cancelled(_route(scope))
            if isinstance(error, asyncio.CancelledError):
                raise
        except Exception as error:
            if status:
                raise
            await error_response(error, request_id_of(request))(scope, receive, watched_send)
        finally:
            status = record.late_status or status
            self._metrics.observe(_route(scope), status, record)
            _log(request, status, record, time.perf_counter() - start_s)


def _route(scope: Scope) -> str:
    """The route's template, so that ids of pictures do not become labels of metrics."""
    return getattr(scope.get("route"), "path", "unknown")


def _log(request: Request, status: int, record: RequestRecord, seconds: float) -> None:
    entry = {
        "request_id": request_id_of(request),
        "method": request.method,
        "route": _route(request.scope),
        "status": status,
        "seconds": round(seconds, 4),
        **({"model": record.model} if record.model else {}),
        **({"key": record.key_name} if record.key_name else {}),
        **({"pictures": record.pictures} if record.pictures else {}),
        **({"retries": record.retries} if record.retries else {}),
        **record.details,
        **{f"{stage}_s": round(value, 4) for stage, value in record.stages_s.items()},
    }
    level = logging.ERROR if status >= 500 else logging.WARNING if status >= 400 else logging.INFO
    if entry["route"] == "/healthz":
        level = logging.DEBUG  # asked every few seconds, and Serve logs what is wrong itself
    logger.log(level, json.dumps(entry))
