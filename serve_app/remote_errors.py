"""The one place that translates Ray's errors.

An exception raised behind a handle arrives as Ray's dual class: an instance of the raised class whose text is a
traceback with process id and address. Only its `cause` is ever looked at.
"""

from __future__ import annotations

from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    RayActorError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RayServeException,
    ReplicaUnavailableError,
)

from deployments.errors import ReplicaUnfit
from serve_app.errors import QueueFull, ServiceUnavailable

REPLICA_LOST = (
    RayActorError,
    NodeDiedError,
    ObjectLostError,
    WorkerCrashedError,
    ReplicaUnavailableError,
    ReplicaUnfit,
)
"""The job's replica is gone, or unfit: another replica may do the same job."""


def unwrap(error: Exception) -> Exception:
    """The exception that was raised on the replica, or Ray's own that says why there is none."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
        return unwrap(error.cause)
    cause = error.__cause__
    if type(error) is RayServeException and isinstance(cause, Exception) and isinstance(cause, RayActorError):
        return cause  # the replica whose response was an argument of this call died
    return error


def translate(error: Exception, retry_after_s: int) -> Exception:
    """`unwrap`, and Ray Serve's own errors as the API's."""
    error = unwrap(error)
    if isinstance(error, BackPressureError):
        return QueueFull("All replicas are busy and their queue is full. Try again later.", retry_after_s)
    if isinstance(error, DeploymentUnavailableError):
        return ServiceUnavailable("The model is not loaded: its deployment failed to start. See /healthz.")
    if isinstance(error, REPLICA_LOST):
        return ServiceUnavailable("The replica that drew the picture was lost. Try again.")
    return error
