"""Every error the API answers, in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`.

The table below is the only place that ties an error class to a status. It is searched along the class's MRO, so a row
for a base class covers the classes below it. A class without a row is a defect of ours and answers 500.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from deployments import errors
from serve_app.access import InvalidApiKey
from serve_app.picture_files import BadUpload
from serve_app.signing import UrlExpired, UrlForged

logger = logging.getLogger("ray.serve")


class InvalidRequest(errors.ServiceError):
    """A field, or the body as a whole, is not what the API takes."""


class UnknownModel(errors.ServiceError):
    """No served name is called this."""


class UnsupportedMediaType(errors.ServiceError):
    """The body's content type is not the one this route reads."""


class BodyTooLarge(errors.ServiceError):
    """The body is over `limits.max_body_bytes`."""


class BodyTooSlow(errors.ServiceError):
    """The body was not there after `limits.body_timeout_s`."""


class NotLoopback(errors.ServiceError):
    """No API keys are configured, and the caller is on another machine."""


class Interrupted(errors.ServiceError):
    """The client itself stopped the work."""


class KeyReused(errors.ServiceError):
    """An `Idempotency-Key` came again with another request."""


class QueueFull(errors.ServiceError):
    """All replicas are busy and their queue is full."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.args = (message, retry_after_s)
        self.retry_after_s = retry_after_s


class ServiceUnavailable(errors.ServiceError):
    """No replica could do the job; the same request may work later."""


class Row(NamedTuple):
    """What an error class answers. `retry=False` tells OpenAI's SDKs not to try again by themselves."""

    status: int
    type: str
    code: str | None = None
    retry: bool = True


class ErrorTable(dict[type[Exception], Row]):
    """Error classes and their answers."""

    def row(self, error: Exception) -> Row:
        """The row of the nearest class along the error's MRO."""
        return next(self[cls] for cls in type(error).__mro__ if cls in self)


TABLE = ErrorTable(
    {
        InvalidRequest: Row(400, "invalid_request_error", "invalid_value"),
        errors.JobError: Row(400, "invalid_request_error", "invalid_value"),
        errors.PromptTooLong: Row(400, "invalid_request_error", "prompt_too_long"),
        errors.NoPoseFound: Row(400, "invalid_request_error", "no_pose_found"),
        errors.JobTooLarge: Row(400, "invalid_request_error", "job_too_large"),
        BadUpload: Row(400, "invalid_request_error", "invalid_image"),
        InvalidApiKey: Row(401, "invalid_request_error", "invalid_api_key"),
        NotLoopback: Row(403, "invalid_request_error", "api_key_required"),
        UrlForged: Row(403, "invalid_request_error", "invalid_signature"),
        errors.PictureNotFound: Row(404, "invalid_request_error", "image_not_found"),
        UnknownModel: Row(404, "invalid_request_error", "model_not_found"),
        BodyTooSlow: Row(408, "invalid_request_error", "body_too_slow"),
        Interrupted: Row(409, "invalid_request_error", "interrupted", retry=False),
        KeyReused: Row(409, "invalid_request_error", "idempotency_key_reused", retry=False),
        UrlExpired: Row(410, "invalid_request_error", "url_expired"),
        BodyTooLarge: Row(413, "invalid_request_error", "body_too_large"),
        UnsupportedMediaType: Row(415, "invalid_request_error", "unsupported_media_type"),
        QueueFull: Row(429, "rate_limit_error", "queue_full"),
        errors.GenerationFailed: Row(500, "server_error", "generation_failed", retry=False),
        ServiceUnavailable: Row(503, "server_error", "unavailable"),
        errors.ReplicaUnfit: Row(503, "server_error", "unavailable"),
        errors.StoreUnavailable: Row(503, "server_error", "store_unavailable", retry=False),
        errors.DeadlineExceeded: Row(504, "server_error", "timeout", retry=False),
        Exception: Row(500, "server_error", "internal_error", retry=False),
    }
)


def error_body(message: str, type_: str, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The body of every error answer."""
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def error_content(error: Exception, request_id: str) -> dict[str, Any]:
    """The body that answers `error`. Messages of our own errors are meant for the client; no other text leaves."""
    row = TABLE.row(error)
    if isinstance(error, errors.ServiceError):
        message, param = error.message, error.param
    else:
        logger.error("request %s failed", request_id, exc_info=error)
        message, param = "The server had an error while processing your request.", None
    if row.status >= 500:
        message = f"{message} (request id: {request_id})"
    return error_body(message, row.type, param, row.code)


def error_response(error: Exception, request_id: str) -> JSONResponse:
    """The answer to `error`."""
    row = TABLE.row(error)
    headers = {} if row.retry else {"x-should-retry": "false"}
    if isinstance(error, QueueFull):
        headers["Retry-After"] = str(error.retry_after_s)
    if row.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error_content(error, request_id), row.status, headers)


def request_id_of(request: Request) -> str:
    """The id that Ray Serve's proxy gave the request, or took from the client; it answers it in `x-request-id`."""
    return request.headers.get("x-request-id", "")[:128]


def add_error_handlers(api: FastAPI) -> None:
    """Answers every exception of `api` from the table; FastAPI's and Starlette's own errors take the same shape."""

    async def own(request: Request, error: Exception) -> JSONResponse:
        return error_response(error, request_id_of(request))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        message = {
            404: f"There is no route {request.method} {request.url.path}.",
            405: f"{request.url.path} does not take {request.method}.",
        }.get(error.status_code, str(error.detail))
        body = error_body(message, "invalid_request_error", None, None)
        return JSONResponse(body, error.status_code, error.headers)

    async def parameters(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        problem = error.errors()[0]
        name = str(problem["loc"][-1])
        return error_response(InvalidRequest(f"'{name}': {problem['msg']}.", name), request_id_of(request))

    for error_class in TABLE.keys() - {Exception}:  # what has no row of its own is answered in `middleware.py`
        api.add_exception_handler(error_class, own)
    api.add_exception_handler(HTTPException, http)
    api.add_exception_handler(RequestValidationError, parameters)
