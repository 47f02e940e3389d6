"""What `serve_app.launch` reads of a Serve YAML file, and what can be wrong with it before a Ray is started."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import ValidationError
from ray.serve.schema import ServeApplicationSchema, ServeDeploySchema

from serve_app.access import KeyRing
from serve_app.config import AppConfig
from serve_app.url_keys import url_keys

EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Hosts that stand for all addresses of this machine, and how it calls itself then."""


class LaunchError(Exception):
    """The service can't be started; the message says why."""


class LaunchConfig(NamedTuple):
    """The checked file: where its first application is served, and what with."""

    host: str
    port: int
    route_prefix: str
    app: AppConfig
    engines: int
    """Engine processes at the start: replicas of all pipeline deployments."""

    @property
    def local_url(self) -> str:
        """How this machine calls the service, without a slash at the end."""
        host = EVERY_ADDRESS.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{self.route_prefix.rstrip('/')}"


def read_config(config_file: str) -> LaunchConfig:
    """Reads the file as Serve does, and tries what its replicas need of this machine: the port, keys and folders.

    Raises:
        LaunchError: names the file, the field or the folder and what is wrong with it.
    """
    try:
        content = yaml.safe_load(Path(config_file).read_text(encoding="utf-8"))
        schema = ServeDeploySchema.model_validate(content)
        if not schema.applications:
            raise LaunchError(f"{config_file} has no application; at least one is needed under applications.")
        application = schema.applications[0]
        config = AppConfig.model_validate(application.args)
        _check_files(application, config)
    except OSError as error:
        raise LaunchError(f"{config_file}: {error.strerror}{f': {error.filename}' if error.filename else ''}") from None
    except ValidationError as error:
        raise LaunchError(f"{config_file}: {error}") from None
    except yaml.YAMLError as error:
        raise LaunchError(f"{config_file} is no YAML file: {error}") from None
    except ValueError as error:
        raise LaunchError(f"{config_file}: {error}") from None
    if application.route_prefix is None:
        raise LaunchError(f"{config_file}: route_prefix is null, which serves nothing over HTTP; it must be a path.")
    http = schema.http_options
    _check_port(http.host, http.port)
    return LaunchConfig(http.host, http.port, application.route_prefix, config, _engines(application, config))


def _engines(application: ServeApplicationSchema, config: AppConfig) -> int:
    replicas = {}
    for deployment in application.deployments:
        autoscaling = deployment.autoscaling_config
        least = autoscaling.get("min_replicas", 1) if isinstance(autoscaling, dict) else deployment.num_replicas
        # Serve has a value of its own for "unset", and what is scaled to zero starts when it is needed.
        replicas[deployment.name] = max(1, least) if isinstance(least, int) else 1
    names = [name for model in config.models for name in config.pipelines(model).values()]
    return sum(replicas.get(name, 1) for name in names)


def _check_files(application: ServeApplicationSchema, config: AppConfig) -> None:
    """Raises what a replica or the building of the application would, long after the start."""
    if "working_dir" in application.runtime_env:
        return  # replicas run in another folder, from which relative paths count
    if config.access.key_file:
        KeyRing(Path(config.access.key_file))
    config.storage.check_folder()
    url_keys(config, {**os.environ, **(application.runtime_env.get("env_vars") or {})})


def _check_port(host: str, port: int) -> None:
    """Raises `LaunchError` where something listens already."""
    if not 1 <= port <= 65535:
        raise LaunchError(f"http_options.port is {port}; it must be from 1 to 65535.")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        raise LaunchError(f"http_options.host {host!r} is no address of this machine: {error.strerror}.") from None
    except OSError as error:
        raise LaunchError(
            f"Port {port} on {host} can't be used: {error.strerror}. Stop what listens there, or set "
            "http_options.port in the YAML file to another one."
        ) from None
