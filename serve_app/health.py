"""GET /healthz: whether every deployment of the graph has a replica that works."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from ray import serve
from ray.serve.schema import DeploymentStatusOverview, ServeStatus

ANSWER_TIMEOUT_S = 3.0
MAX_AGE_S = 1.0
"""Anybody may ask, so the controller is asked once at a time, and not more often than this."""


class GraphHealth:
    """Asks Serve's controller."""

    def __init__(self, deployment_models: Mapping[str, str]) -> None:
        """`deployment_models`: the model id that each pipeline deployment loads."""
        self._deployment_models = deployment_models
        # The call has no timeout of its own: where no controller answers, it holds its thread.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="health")
        self._asked: asyncio.Future[ServeStatus] | None = None
        self._asked_s = 0.0
        self._up: set[str] = set()
        """Deployments that were up when they were last looked at."""

    async def missing(self) -> dict[str, str]:
        """Deployment name → what is missing; empty when the whole graph is up."""
        app_name = serve.get_replica_context().app_name
        try:
            status = await asyncio.wait_for(asyncio.shield(self._ask()), ANSWER_TIMEOUT_S)
        except TimeoutError:
            return {"controller": f"Serve's controller has not answered for {ANSWER_TIMEOUT_S:g} s"}
        deployments = status.applications[app_name].deployments
        self._up = {name for name, state in deployments.items() if _is_up(state, name in self._up)}
        return {name: self._reason(name, state) for name, state in deployments.items() if name not in self._up}

    def _ask(self) -> asyncio.Future[ServeStatus]:
        """The running call, or one that has just been answered, or a new one."""
        now_s = time.monotonic()
        if self._asked is None or (self._asked.done() and now_s - self._asked_s > MAX_AGE_S):
            self._asked = asyncio.get_running_loop().run_in_executor(self._thread, serve.status)
            self._asked_s = now_s
        return self._asked

    def _reason(self, name: str, deployment: DeploymentStatusOverview) -> str:
        what = f"the model {self._deployment_models[name]!r}" if name in self._deployment_models else "the deployment"
        if deployment.status in ("UNHEALTHY", "DEPLOY_FAILED"):
            return f"{what} could not be loaded or has failed; the log of {name} says why"
        return f"{what} is being loaded"


def _is_up(deployment: DeploymentStatusOverview, was_up: bool) -> bool:
    """A deployment scaled to zero is up as long as Serve calls it healthy, and while the first replica starts again.

    One that scales and was never up still loads; one whose replicas were lost is UNHEALTHY.
    """
    is_running: bool = deployment.replica_states.get("RUNNING", 0) > 0
    return (
        is_running or deployment.status == "HEALTHY" or (was_up and deployment.status in ("UPSCALING", "DOWNSCALING"))
    )
