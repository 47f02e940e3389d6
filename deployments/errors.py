"""Errors that cross a deployment handle: they pickle, and their messages are made for the client.

JobError                    400  the job can't be done as ordered; the caller has to change it
├── PromptTooLong           400
├── NoPoseFound             400
└── JobTooLarge             400  larger than the engine's budget: it would never be admitted
DeadlineExceeded            504
GenerationFailed            500  this job failed; the engine goes on
ReplicaUnfit                503  this replica can't take or finish the job; another may
StoreUnavailable            503  the picture store can't be written or read
PictureNotFound             404
"""

from __future__ import annotations

from typing import Any


class ServiceError(Exception):
    """An error made for the client: its message may be shown. Built from positional arguments, so that it pickles."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message, param)
        self.message = message
        self.param = param

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[type[ServiceError], tuple[Any, ...]]:
        return type(self), self.args


class JobError(ServiceError):
    """The job can't be done as ordered."""


class PromptTooLong(JobError):
    """The prompt has more tokens than the checkpoint's `max_prompt_chunks` hold."""


class NoPoseFound(JobError):
    """The pose estimator found no person in the picture."""


class JobTooLarge(JobError):
    """The job needs more than the engine's whole budget."""


class DeadlineExceeded(ServiceError):
    """The job's deadline passed before its pictures were done."""


class GenerationFailed(ServiceError):
    """The job failed in the engine; the same job would fail again."""


class ReplicaUnfit(ServiceError):
    """The replica is draining or its device failed: another replica may do the job."""


class StoreUnavailable(ServiceError):
    """The picture store can't be written or read."""


class PictureNotFound(ServiceError):
    """No picture has this id."""
