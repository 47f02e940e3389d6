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
def launched(config: Path, *shell: str, folder: Path = ROOT) -> Iterator[subprocess.Popen[str]]:
    """`scripts/serve CONFIG` in `folder`, in `shell` if one is given, ended at the end if it is still there."""
    subprocess.run([ROOT / "scripts" / "install"], check=True)  # what it says when it must is no part of these tests
    unset = service_environment(engines=3)
    environment = {name: value for name, value in os.environ.items() if name not in unset} | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*shell, ROOT / "scripts" / "serve", config],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=folder,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


TERMINAL = ("env", "--default-signal=HUP")  # these tests themselves may run under nohup
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
        assert screen.startswith("Starting Ray"), "nothing that needs an explanation comes first"
        assert f"http://127.0.0.1:{port}" in screen
        assert "curl" in screen
        assert "from openai import OpenAI" in screen
        assert len(screen.splitlines()) <= 24, "more than one screen"
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").json() == {"status": "ok"}
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) > 5
        (serve,) = (child for child in started if "serve_app.serve_run" in child.cmdline())
        assert not ignores_ctrl_c(serve), "it stops by Ctrl-C"
        replicas = [child for child in started if "ServeReplica" in "".join(child.cmdline())]
        assert len(replicas) >= 5
        for name, value in service_environment(engines=3).items():
            assert {child.environ().get(name) for child in replicas} == {value}, name
        process.send_signal(number)
        assert process.wait(60) == 0
    deadline_s = time.monotonic() + 10
    while left := [child for child in started if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]:
        assert time.monotonic() < deadline_s, left
        time.sleep(0.1)


def wait_for_ray(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that the launcher has started when its Ray has begun to start."""
    deadline_s = time.monotonic() + 60
    while True:
        started = psutil.Process(process.pid).children(recursive=True)
        if any("gcs_server" in child.name() for child in started):
            return started
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def test_the_end_of_the_terminal_stops_it_and_what_it_said_is_shown(tmp_path: Path) -> None:
    with launched(config_file(tmp_path, free_port()), *TERMINAL) as process:
        started = wait_for_ray(process)
        process.send_signal(signal.SIGHUP)
        said = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert "Running config file" in said, "what Serve had printed"
    assert not [child for child in started if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def test_with_nohup_it_outlives_its_terminal(tmp_path: Path) -> None:
    with launched(config_file(tmp_path, free_port()), "nohup") as process:
        wait_for_ray(process)
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        process.terminate()
        assert process.wait(60) == 0


def test_what_serve_refuses_is_shown_and_ends_it(tmp_path: Path) -> None:
    file = config_file(tmp_path, free_port())
    content = yaml.safe_load(file.read_text())
    content["applications"][0]["deployments"] = [{"name": "Storaeg", "num_replicas": 1}]
    file.write_text(yaml.safe_dump(content))
    with launched(file) as process:
        said = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "'Storaeg' does not exist. Available: ['TextToImage'" in said
    assert said.splitlines()[-1].startswith("Not started: ")


def test_a_checkpoint_that_can_not_be_had_is_named(tmp_path: Path) -> None:
    file = config_file(tmp_path, free_port())
    file.write_text(file.read_text().replace("path: none", "path: nobody/missing-xl"))
    with launched(file) as process:
        said = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "nobody/missing-xl" in said
    assert "Failed to update the deployments" in said
    assert re.search(r"^(TextToImage|ImageEdit|PoseControl): The deployment failed to start", said, re.MULTILINE)
