"""`build_app`: configuration → application. The only file that binds deployments."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ray import serve
from ray.serve import Application

from deployments.all_tasks import AllTasks
from deployments.config import CheckpointConfig
from deployments.image_edit import ImageEdit
from deployments.pipeline import EngineBuilder, build_engine
from deployments.pose_control import EstimatorBuilder, PoseControl, build_estimator
from deployments.storage import Storage
from deployments.text_to_image import TextToImage
from serve_app.config import AppConfig, ModelConfig
from serve_app.ingress import Ingress, Pipelines
from serve_app.url_keys import url_keys


def build_app(args: dict[str, Any]) -> Application:
    """The application that a Serve YAML file names as `serve_app.app:build_app`; `args` stand there too.

    Raises:
        pydantic.ValidationError: naming the field, its value and what is allowed, before any replica starts.
    """
    return wire(AppConfig.model_validate(args), build_engine, build_estimator)


def wire(config: AppConfig, build_engine: EngineBuilder, build_estimator: EstimatorBuilder) -> Application:
    """Binds the graph: an ingress, the pipelines of each model, a store.

    Each deployment can be overridden by its name under `deployments:` in the YAML file. With one model the pipelines
    are called TextToImage, ImageEdit and PoseControl, or AllTasks where they share an engine; with several,
    TextToImage:ID and so on.
    """
    # A running job is worth waiting for: a replica that is stopped gets as long as any job may take.
    grace_s = config.limits.request_timeout_s + 5
    deployment_models: dict[str, str] = {}

    def pipeline(deployment: type, model: ModelConfig, checkpoint: CheckpointConfig, *more: Callable[..., Any]) -> Any:
        name = config.pipelines(model)[deployment.__name__]
        deployment_models[name] = model.id
        return serve.deployment(
            deployment,
            name=name,
            autoscaling_config={"min_replicas": 1, "max_replicas": 1},
            ray_actor_options={"num_cpus": 0.2},
            # The engine batches what it holds: two passes' worth, so that it fills the next while the last one's
            # pictures travel; and not so many jobs that a new replica would find nothing left to do. AllTasks gets no
            # more for its three tasks: its engine is no faster, and whoever comes last would wait three times as long.
            max_ongoing_requests=32,
            max_queued_requests=64,
            graceful_shutdown_timeout_s=grace_s,
            health_check_period_s=5,
            # A checkpoint that can't be loaded will not load the twentieth time either.
            max_constructor_retry_count=3,
        ).bind(build_engine, checkpoint, model.engine, *more)

    def pipelines(model: ModelConfig) -> Pipelines:
        if model.share_engine:
            all_tasks = pipeline(AllTasks, model, model.checkpoint, build_estimator)
            return Pipelines(all_tasks, all_tasks, all_tasks if model.poses else None)
        without_controlnet = model.checkpoint.model_copy(update={"controlnet": None, "pose_estimator": None})
        return Pipelines(
            text_to_image=pipeline(TextToImage, model, without_controlnet),
            image_edit=pipeline(ImageEdit, model, without_controlnet),
            pose_control=pipeline(PoseControl, model, model.checkpoint, build_estimator) if model.poses else None,
        )

    storage = serve.deployment(
        Storage,
        name="Storage",
        num_replicas=1,
        ray_actor_options={"num_cpus": 0.1},
        max_ongoing_requests=1000,  # reading and writing files waits for disks and networks, not for this process
    ).bind(config.storage)
    return serve.deployment(
        serve.ingress()(Ingress),
        name="Ingress",
        autoscaling_config={"min_replicas": 1, "max_replicas": 1},
        ray_actor_options={"num_cpus": 0.1},
        # A request mostly waits for its pictures. The pipelines' queues are what fills first, and a full one answers
        # 429 in OpenAI's shape; this limit only guards the ingress's own memory.
        max_ongoing_requests=1000,
        graceful_shutdown_timeout_s=grace_s,
    ).bind(
        config=config,
        url_keys=url_keys(config, os.environ),
        pipelines={model.id: pipelines(model) for model in config.models},
        storage=storage,
        deployment_models=deployment_models,
    )
