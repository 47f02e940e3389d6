"""The files that users start from: serve_config.yaml, one_gpu.yaml, demo.yaml and cluster.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.serve.schema import ServeDeploySchema

from serve_app.config import AppConfig

ROOT = Path(__file__).parent.parent


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return content


@pytest.mark.parametrize("name", ["demo.yaml", "serve_config.yaml", "one_gpu.yaml"])
def test_serve_reads_the_file_and_the_configuration_is_valid(name: str) -> None:
    schema = ServeDeploySchema.model_validate(read(name))
    config = AppConfig.model_validate(schema.applications[0].args)
    assert {"smooth", "standard", "hd", "low", "medium", "high", "auto"} <= config.models[0].presets.keys()
    assert {"256x256", "512x512", "1024x1024"} <= config.models[0].sizes.keys()


@pytest.mark.parametrize(
    ("name", "graph"),
    [
        ("serve_config.yaml", ["ImageEdit", "Ingress", "PoseControl", "Storage", "TextToImage"]),
        ("one_gpu.yaml", ["AllTasks", "Ingress", "Storage"]),
    ],
)
def test_every_override_names_a_deployment_of_the_graph(name: str, graph: list[str]) -> None:
    overrides = [deployment["name"] for deployment in read(name)["applications"][0]["deployments"]]
    assert sorted(overrides) == graph


def test_one_gpu_serves_what_production_serves() -> None:
    """YAML files can't share a part, so the two repeat it."""
    production, one_gpu = read("serve_config.yaml"), read("one_gpu.yaml")
    assert one_gpu["applications"][0]["args"]["models"][0].pop("share_engine") is True
    for file in (production, one_gpu):
        file["applications"][0].pop("deployments")
    assert one_gpu == production


def test_one_gpu_is_enough_for_the_file_of_that_name() -> None:
    [application] = ServeDeploySchema.model_validate(read("one_gpu.yaml")).applications
    options = [deployment.ray_actor_options for deployment in application.deployments]
    assert sum(each.num_gpus or 0 for each in options) == 1
    assert sum(each.num_cpus for each in options) <= 3
    replicas = [deployment["autoscaling_config"]["max_replicas"] for deployment in _autoscaled("one_gpu.yaml")]
    assert replicas == [1]


def _autoscaled(name: str) -> list[dict[str, Any]]:
    deployments = read(name)["applications"][0]["deployments"]
    return [deployment for deployment in deployments if "autoscaling_config" in deployment]


def test_production_draws_small_sizes_large() -> None:
    sizes = read("serve_config.yaml")["applications"][0]["args"]["models"][0]["sizes"]
    assert sizes["256x256"] == sizes["512x512"] == "1024x1024"


def test_the_cluster_file_is_a_ray_cluster() -> None:
    prepared = prepare_config(read("cluster.yaml"))
    validate_config(prepared)
    head = prepared["available_node_types"][prepared["head_node_type"]]
    workers = prepared["available_node_types"]["gpu"]
    assert head["max_workers"] == 0
    assert 0 < workers["min_workers"] < workers["max_workers"] <= prepared["max_workers"]
    assert any("scripts/install" in command for command in prepared["setup_commands"])
