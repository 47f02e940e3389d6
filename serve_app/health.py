"""GET /healthz: whether every deployment of the graph has a replica that works."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ray import serve
from ray.serve.schema import DeploymentStatusOverview


class GraphHealth:
    """Asks Serve's controller."""

    def __init__(self, deployment_models: Mapping[str, str]) -> None:
        """`deployment_models`: the model id that each pipeline deployment loads."""
        self._deployment_models = deployment_models

    async def missing(self) -> dict[str, str]:
        """Deployment name → what is missing; empty when the whole graph is up."""
        app_name = serve.get_replica_context().app_name
        status = await asyncio.to_thread(serve.status)
        deployments = status.applications[app_name].deployments
        return {name: self._reason(name, state) for name, state in deployments.items() if not _is_up(state)}

    def _reason(self, name: str, deployment: DeploymentStatusOverview) -> str:
        what = f"the model {self._deployment_models[name]!r}" if name in self._deployment_models else "the deployment"
        if deployment.status in ("UNHEALTHY", "DEPLOY_FAILED"):
            return f"{what} could not be loaded or has failed; the log of {name} says why"
        return f"{what} is being loaded"


def _is_up(deployment: DeploymentStatusOverview) -> bool:
    """A deployment scaled to zero is up as long as Serve calls it healthy."""
    return bool(deployment.replica_states.get("RUNNING", 0) > 0 or deployment.status == "HEALTHY")
