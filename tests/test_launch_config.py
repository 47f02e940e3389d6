"""What `scripts/serve` refuses before it starts a Ray."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.launch import main
from serve_app.launch_config import read_config
from tests.test_launch import config_file, free_port, launched


def refused(file: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the launcher says of a file that it refuses."""
    assert main(str(file)) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def changed(file: Path, **changes: Any) -> Path:
    """The file with other `http_options` or settings of its application."""
    content = yaml.safe_load(file.read_text())
    if "http_options" in changes:
        content["http_options"] = changes.pop("http_options")
    content["applications"][0] |= changes
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_port_in_use_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], family: socket.AddressFamily, host: str
) -> None:
    with socket.socket(family) as taken:
        taken.bind((host, 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = refused(changed(config_file(tmp_path, port), http_options={"port": port, "host": host}), capsys)
    assert f"Port {port} on {host}" in said
    assert "http_options.port" in said


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:{port}"),
        ("127.0.0.1", "http://127.0.0.1:{port}"),
        ("::", "http://[::1]:{port}"),
        ("::1", "http://[::1]:{port}"),
        ("localhost", "http://localhost:{port}"),
    ],
)
def test_this_machine_calls_the_service_by_its_host(tmp_path: Path, host: str, url: str) -> None:
    port = free_port()
    file = changed(config_file(tmp_path, port), http_options={"port": str(port), "host": host})
    assert read_config(str(file)).local_url == url.format(port=port)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"http_options": {"port": 70000}}, ["http_options.port is 70000", "from 1 to 65535"]),
        ({"http_options": {"port": 0}}, ["http_options.port is 0"]),
        ({"http_options": {"port": "http"}}, ["http_options.port", "'http'", "integer"]),
        ({"http_options": {"host": None}}, ["http_options.host", "None", "string"]),
        ({"http_options": {"host": "no such host"}}, ["http_options.host 'no such host'"]),
        ({"http_options": None}, ["http_options"]),
        ({"route_prefix": None}, ["route_prefix is null"]),
        ({"import_path": None}, ["import_path"]),
        ({"args": {}}, ["models", "required"]),
    ],
)
def test_what_serve_would_not_take_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], says: list[str]
) -> None:
    said = refused(changed(config_file(tmp_path, free_port()), **changes), capsys)
    for text in says:
        assert text in said


@pytest.mark.parametrize("content", ["[]", "applications: []", "applications: [1]", "a: [", "", None, b"\xff"])
def test_a_file_that_is_no_configuration_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | bytes | None
) -> None:
    file = tmp_path / "serve.yaml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert str(file) in refused(file, capsys)


@pytest.mark.parametrize(
    ("args", "variable", "says"),
    [
        ({"limits": {"request_timeout_s": -1}}, None, ["limits.request_timeout_s", "greater than 0"]),
        ({"access": {"key_file": "/no/keys"}}, None, ["API key file /no/keys can't be read"]),
        ({"storage": {"location": "/proc/self/fd"}}, None, ["storage.location: the folder /proc/self/fd"]),
        ({"storage": {"location": "s3://bucket/x"}}, None, ["no keys for image URLs", "IMAGE_URL_KEYS"]),
        ({}, "short", ["IMAGE_URL_KEYS: key 1 has 5 characters"]),
        ({"access": {"url_keys_file": "/no/url-keys"}}, None, ["No such file or directory: /no/url-keys"]),
    ],
)
def test_what_a_replica_would_fail_at_is_said_at_once(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    args: dict[str, Any],
    variable: str | None,
    says: list[str],
) -> None:
    monkeypatch.delenv("IMAGE_URL_KEYS", raising=False)
    if variable is not None:
        monkeypatch.setenv("IMAGE_URL_KEYS", variable)
    said = refused(config_file(tmp_path, free_port(), **args), capsys)
    for text in says:
        assert text in said


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "Is a directory: {file}"), (b"\xff", "{file} is no text in UTF-8"), (b"\n", "{file}: no key in it")],
)
def test_url_keys_that_can_not_be_read_are_said_at_once(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    content: bytes | None,
    says: str,
) -> None:
    monkeypatch.delenv("IMAGE_URL_KEYS", raising=False)
    file = tmp_path / "pictures" / ".url-keys"
    file.parent.mkdir()
    file.mkdir() if content is None else file.write_bytes(content)
    assert says.format(file=file) in refused(config_file(tmp_path, free_port()), capsys)


def test_keys_in_the_applications_environment_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMAGE_URL_KEYS", raising=False)
    file = config_file(tmp_path, free_port(), storage={"location": "s3://bucket/x"})
    read_config(str(changed(file, runtime_env={"env_vars": {"IMAGE_URL_KEYS": "k" * 32}})))


def test_the_file_is_found_from_the_folder_of_the_caller(tmp_path: Path) -> None:
    config_file(tmp_path, 70000)
    with launched(Path("serve.yaml"), folder=tmp_path) as process:
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "http_options.port is 70000" in said


@pytest.mark.parametrize(
    ("deployments", "engines"),
    [
        ([], 3),
        ([{"name": "Ingress", "num_replicas": 7}], 3),
        ([{"name": "TextToImage", "num_replicas": 4}], 6),
        ([{"name": "ImageEdit", "autoscaling_config": {"min_replicas": 2, "max_replicas": 5}}], 4),
        ([{"name": "ImageEdit", "autoscaling_config": {"min_replicas": 0, "max_replicas": 5}}], 3),
        ([{"name": "PoseControl", "ray_actor_options": {"num_cpus": 1}}], 3),
    ],
)
def test_engines_are_counted_as_the_file_has_replicas(tmp_path: Path, deployments: list[Any], engines: int) -> None:
    file = changed(config_file(tmp_path, free_port()), deployments=deployments)
    assert read_config(str(file)).engines == engines
