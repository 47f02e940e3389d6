"""`scripts/serve` as a person uses it: what it prints, and that nothing of it is left when it stops."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx
import psutil
import pytest
import yaml

from serve_app.environment import service_environment
from tests.conftest import fake_config
from tests.test_files import ROOT


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def config_file(folder: Path, port: int, **args: Any) -> Path:
    """A Serve YAML file with fake engines."""
    application = {
        "name": "images",
        "route_prefix": "/",
        "import_path": "tests.fakes:build_fake_app",
        "args": fake_config(folder).model_dump(mode="json") | args,
    }
    file = folder / "serve.yaml"
    file.write_text(yaml.safe_dump({"http_options": {"port": port}, "applications": [application]}))
    return file


@contextmanager
def launched(config: Path, *shell: str) -> Iterator[subprocess.Popen[str]]:
    """`scripts/serve CONFIG`, in `shell` if one is given, killed at the end if it is still there."""
    unset = service_environment(models=1)
    environment = {name: value for name, value in os.environ.items() if name not in unset} | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*shell, ROOT / "scripts" / "serve", config],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=ROOT,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


BACKGROUND = ("bash", "-c", "trap '' INT; exec \"$@\"", "bash")  # a shell's background job ignores Ctrl-C


def ignores_ctrl_c(process: psutil.Process) -> bool:
    (line,) = (line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "SigIgn" in line)
    return bool(int(line.split()[1], 16) >> (signal.SIGINT - 1) & 1)


def read_until(lines: IO[str] | None, text: str) -> str:
    assert lines is not None
    read = ""
    for line in lines:
        read += line
        if text in line:
            return read
    raise AssertionError(f"{text!r} was not printed, but:\n{read}")


@pytest.mark.parametrize(
    ("number", "shell"),
    [(signal.SIGINT, ()), (signal.SIGTERM, BACKGROUND)],
    ids=["Ctrl-C", "SIGTERM, in the background"],
)
def test_it_says_how_to_call_it_and_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals, shell: tuple[str, ...]
) -> None:
    port = free_port()
    with launched(config_file(tmp_path, port), *shell) as process:
        screen = read_until(process.stdout, "Ctrl-C stops it")
        assert f"http://127.0.0.1:{port}" in screen
        assert "curl" in screen
        assert "from openai import OpenAI" in screen
        assert len(screen.splitlines()) <= 24, "more than one screen"
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").json() == {"status": "ok"}
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) > 5
        assert not any(ignores_ctrl_c(child) for child in started if "run" in child.cmdline()), "it stops by Ctrl-C"
        replicas = [child for child in started if "ServeReplica" in "".join(child.cmdline())]
        assert len(replicas) >= 5
        for name, value in service_environment(models=1).items():
            assert {child.environ().get(name) for child in replicas} == {value}, name
        process.send_signal(number)
        assert process.wait(60) == 0
    deadline_s = time.monotonic() + 10
    while left := [child for child in started if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < deadline_s, left
        time.sleep(0.1)


def test_a_port_in_use_is_a_clear_error(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with launched(config_file(tmp_path, port)) as process:
            said = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert f"Port {port}" in said
    assert "http_options.port" in said
    assert "Traceback" not in said


def test_a_wrong_configuration_is_refused_before_ray_starts(tmp_path: Path) -> None:
    with launched(config_file(tmp_path, free_port(), limits={"request_timeout_s": -1})) as process:
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "limits.request_timeout_s" in said
    assert "greater than 0" in said
    assert "Traceback" not in said


def test_a_checkpoint_that_can_not_be_had_is_named(tmp_path: Path) -> None:
    file = config_file(tmp_path, free_port())
    file.write_text(file.read_text().replace("path: none", "path: nobody/missing-xl"))
    with launched(file) as process:
        said = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "nobody/missing-xl" in said
    assert re.search(r"(TextToImage|ImageEdit|PoseControl): the model 'fake' could not be loaded", said)
