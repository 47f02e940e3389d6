"""`python -m serve_app.launch CONFIG.yaml`: a Ray of its own with the service on it, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from pathlib import Path
from typing import IO, Any

import psutil
import yaml
from pydantic import ValidationError

from serve_app.config import AppConfig
from serve_app.environment import service_environment

NOTICE_INTERVAL_S = 60
"""How often it says what it still waits for."""

STOP_TIMEOUT_S = 15
"""How long running requests may take to end after Ctrl-C, before their processes are killed."""

READY = """
Ready: {base}

  curl {base}/v1/images/generations{auth_curl} -H 'Content-Type: application/json' \\
    -d '{{"model": "{model}", "prompt": "a red star on a blue background"}}'

  from openai import OpenAI
  client = OpenAI(base_url="{base}/v1", api_key="{auth_sdk}")
  print(client.images.generate(model="{model}", prompt="A cute baby sea otter").data[0].url)

In a browser: {base}/ draws, {base}/docs describes the API. Ctrl-C stops it.
"""


class LaunchError(Exception):
    """The service can't be started; the message says why."""


def main(config_file: str) -> int:
    """Runs until a signal; returns the exit status."""
    try:
        http, prefix, config = read_config(config_file)
        host, port = http.get("host", "127.0.0.1"), http.get("port", 8000)
        check_port(host, port)
    except LaunchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    local = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}{prefix.rstrip('/')}"
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # first: a child of a shell's background job would ignore SIGINT
        signal.signal(number, lambda *_: stopping.set())
    service = Service(config_file, len(config.models), stopping)
    sys.stdout.write(f"Starting Ray and the service of {config_file} …\n")
    sys.stdout.flush()
    try:
        problem = service.wait_until_ready(f"{local}/healthz")
        if problem is None and not stopping.is_set():
            key = "YOUR_KEY" if config.access.key_file else "unused"
            header = " -H 'Authorization: Bearer YOUR_KEY'" if config.access.key_file else ""
            name = next(iter(config.models[0].names))
            service.say(READY.format(base=local, model=name, auth_curl=header, auth_sdk=key))
            problem = service.wait_until_stopped()
    finally:
        service.stop()
    if problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


def read_config(config_file: str) -> tuple[dict[str, Any], str, AppConfig]:
    """`http_options`, the route prefix and the checked `args` of the file's first application."""
    try:
        text = yaml.safe_load(Path(config_file).read_text(encoding="utf-8"))
        application = text["applications"][0]
        config = AppConfig.model_validate(application.get("args", {}))
    except OSError as error:
        raise LaunchError(f"{config_file}: {error.strerror}") from None
    except (yaml.YAMLError, LookupError, TypeError) as error:
        raise LaunchError(f"{config_file} is not a Serve YAML file with an application: {error}") from None
    except ValidationError as error:
        raise LaunchError(f"{config_file}: {error}") from None
    return text.get("http_options") or {}, application.get("route_prefix", "/"), config


def check_port(host: str, port: int) -> None:
    """Raises `LaunchError` where something listens already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise LaunchError(
                f"Port {port} on {host} can't be used: {error.strerror}. Stop what listens there, or set "
                "http_options.port in the YAML file to another one."
            ) from None


class Service:
    """`serve run` as a child process, and what it started."""

    def __init__(self, config_file: str, models: int, stopping: threading.Event) -> None:
        """Starts it with the file's number of models; `stopping` ends all waiting."""
        self._stopping = stopping
        self._child = subprocess.Popen(
            [sys.executable, "-m", "ray.serve.scripts", "run", "--address", "local", config_file],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**service_environment(models), **os.environ},
            start_new_session=True,  # Ctrl-C goes to this process alone, which then stops the child in order
        )
        self._before_ready: deque[str] | None = deque(maxlen=60)
        self._lock = threading.Lock()
        assert self._child.stdout is not None
        threading.Thread(target=self._forward, args=(self._child.stdout,), daemon=True).start()

    def wait_until_ready(self, health_url: str) -> str | None:
        """Returns None when the graph is up or a signal has come, else what went wrong."""
        notice_s = time.monotonic() + NOTICE_INTERVAL_S
        missing: dict[str, str] = {}
        while not self._stopping.wait(0.25):
            if self._child.poll() is not None:
                return self._failure("Ray or the service ended early")
            if time.monotonic() > notice_s:
                notice_s += NOTICE_INTERVAL_S
                waiting = "; ".join(f"{name}: {reason}" for name, reason in missing.items()) or "Ray starts"
                sys.stdout.write(
                    f"Still waiting ({waiting}). Loading a checkpoint for the first time downloads it; a "
                    "deployment without the GPUs or CPUs that it asks for waits for ever.\n"
                )
                sys.stdout.flush()
            try:
                with urllib.request.urlopen(health_url, timeout=5):
                    return None
            except urllib.error.HTTPError as error:
                missing = _missing(error)
            except OSError:
                continue
            failed = [f"{name}: {reason}" for name, reason in missing.items() if "failed" in reason]
            if failed:
                return self._failure("; ".join(failed))
        return None

    def wait_until_stopped(self) -> str | None:
        """Returns None after a signal, else that the service ended by itself."""
        while not self._stopping.wait(0.5):
            if self._child.poll() is not None:
                return f"The service ended by itself, with status {self._child.returncode}."
        return None

    def say(self, text: str) -> None:
        """Prints `text`; from then on the service's own output is shown."""
        with self._lock:
            self._before_ready = None
            sys.stdout.write(text)
            sys.stdout.flush()

    def stop(self) -> None:
        """Ends the child and all that it started, without its last words; what does not end in time is killed."""
        with self._lock:
            self._before_ready = deque(maxlen=0)
        started = [self._child_process(), *self._child_process().children(recursive=True)] if self._running() else []
        if self._running():
            self._child.send_signal(signal.SIGINT)
        deadline_s = time.monotonic() + STOP_TIMEOUT_S
        _, left = psutil.wait_procs(started, timeout=max(0.0, deadline_s - time.monotonic()))
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=5)

    def _running(self) -> bool:
        return self._child.poll() is None

    def _child_process(self) -> psutil.Process:
        return psutil.Process(self._child.pid)

    def _failure(self, what: str) -> str:
        with self._lock:
            return "".join(self._before_ready or ()) + f"\nNot started: {what}."

    def _forward(self, lines: IO[str]) -> None:
        for line in lines:
            with self._lock:
                if self._before_ready is None:
                    sys.stdout.write(line)
                    sys.stdout.flush()
                else:
                    self._before_ready.append(line)


def _missing(answer: urllib.error.HTTPError) -> dict[str, str]:
    """What /healthz says is missing; nothing while Serve's proxy answers in its place."""
    try:
        missing: dict[str, str] = json.load(answer)["missing"]
    except (ValueError, LookupError, TypeError):
        return {}
    return missing


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
