"""One Ray for the whole test session, and on it the service with fake engines: for everything but the drawing."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import httpx
import openai
import pytest
import yaml

from serve_app.environment import service_environment

# Before Ray and torch are imported. Tests wait for the controller more often than for anything else.
os.environ.update({**service_environment(engines=3), "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.1", **os.environ})

import ray
from ray import serve
from ray.serve._private import client as serve_client
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from serve_app.app import build_app, wire
from serve_app.config import AppConfig
from tests.fakes import build_fake_engine, build_fake_estimator

FAKE_ROUTE = "/fake"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process has the Ray, and all tests that need it; the others are shared out file by file."""
    for item in items:
        group = "ray" if "serve_url" in getattr(item, "fixturenames", ()) else item.path.name
        item.add_marker(pytest.mark.xdist_group(group))


def fake_config(folder: Path, **changes: Any) -> AppConfig:
    """A configuration of the fake engines, with one model of each meaning of `n`."""
    preset = {"steps": 4, "guidance_scale": 5, "scheduler": "euler"}
    settings: dict[str, Any] = {
        "models": [
            {
                "id": "fake",
                "checkpoint": {"path": "none", "controlnet": "none", "pose_estimator": "none"},
                "sizes": {"256x256": "256x256", "512x512": "512x512", "1024x1024": "512x512"},
                "default_size": "256x256",
                "presets": {"smooth": preset, "hd": {**preset, "steps": 8}},
                "names": {
                    "be-fake": {"n_means": "seed"},
                    "dall-e-2": {"sizes": {"1792x1024": "1024x1024"}, "qualities": {"standard": "smooth"}},
                    "fake-pose": {"task": "pose"},
                    "fake-lenient": {"unknown_fields": "ignore"},
                    "lab/fake": {},
                    "gpt-image-1": {
                        "response_format": "b64_json",
                        "sizes": {"1536x1024": "1024x1024"},
                        "qualities": {"auto": "smooth", "high": "hd"},
                        "default_quality": "auto",
                    },
                },
                "styles": {"vivid": {"guidance_scale": 9}, "natural": {"steps": 3, "scheduler": "ddim"}},
                "input_fidelities": {
                    "high": {"strength": 0.4, "controlnet_scale": 1.5},
                    "low": {"strength": 0.9, "guidance_scale": 2},
                },
            }
        ],
        "storage": {"location": str(folder / "pictures")},
        "limits": {
            "max_body_bytes": 2_000_000,
            "max_bodies_bytes": 3_000_000,
            "max_image_pixels": 4_000_000,
            "request_timeout_s": 10,
        },
    }
    return AppConfig.model_validate(settings | changes)


@pytest.fixture(scope="session")
def serve_url() -> Iterator[str]:
    """A Ray with plenty of logical CPUs and GPUs, and the address of its Serve proxy."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ray.init(num_cpus=64, num_gpus=16, include_dashboard=False, log_to_driver=False, namespace="serve")
    serve_client.CLIENT_POLLING_INTERVAL_S = 0.1  # how often `serve.run` and `serve.delete` look whether they are done
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
    ray.shutdown()


class Deploy(Protocol):
    """Serves a configuration with fake engines at its own route."""

    def __call__(self, name: str, config: AppConfig) -> str:
        """Returns the base URL."""
        ...


@pytest.fixture
def deploy(serve_url: str) -> Iterator[Deploy]:
    """Further services with fake engines, for the length of one test."""
    names: list[str] = []

    def deploy(name: str, config: AppConfig) -> str:
        names.append(name)
        serve.run(wire(config, build_fake_engine, build_fake_estimator), name=name, route_prefix=f"/{name}")
        return f"{serve_url}/{name}"

    yield deploy
    for name in set(names):
        serve.delete(name)


def deploy_as_file(name: str, config: AppConfig, deployments: list[dict[str, Any]]) -> None:
    """Serves fake engines at the route `/name` as a Serve YAML file does, with its settings of single deployments."""
    application = {
        "name": name,
        "route_prefix": f"/{name}",
        "import_path": "tests.fakes:build_fake_app",
        "args": config.model_dump(mode="json"),
        "deployments": deployments,
    }
    client = _get_global_client()
    client.deploy_apps(ServeDeploySchema.model_validate({"applications": [application]}), _blocking=True)


@pytest.fixture(scope="session")
def fake_url(serve_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Base URL of the service with fake engines."""
    config = fake_config(tmp_path_factory.mktemp("fake"))
    serve.run(wire(config, build_fake_engine, build_fake_estimator), name="fake", route_prefix=FAKE_ROUTE)
    return serve_url + FAKE_ROUTE


@pytest.fixture(scope="session")
def fake(fake_url: str) -> Iterator[openai.OpenAI]:
    """The OpenAI SDK, pointed at the fake engines; it never retries by itself."""
    with openai.OpenAI(base_url=f"{fake_url}/v1", api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def http(fake_url: str) -> Iterator[httpx.Client]:
    """Plain HTTP to the fake engines."""
    with httpx.Client(base_url=fake_url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def embedded_url(serve_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Base URL of the service as demo.yaml describes it: the real engine with the embedded model."""
    args = yaml.safe_load((Path(__file__).parent.parent / "demo.yaml").read_text())["applications"][0]["args"]
    args["storage"] = {"location": str(tmp_path_factory.mktemp("embedded") / "pictures")}
    serve.run(build_app(args), name="embedded", route_prefix="/embedded")
    return f"{serve_url}/embedded"


@pytest.fixture(scope="session")
def embedded(embedded_url: str) -> Iterator[openai.OpenAI]:
    """The OpenAI SDK, pointed at the embedded model."""
    with openai.OpenAI(base_url=f"{embedded_url}/v1", api_key="unused", max_retries=0) as client:
        yield client
