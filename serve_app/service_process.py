"""The service as a child process of the launcher, and all that it starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import psutil

from serve_app.environment import service_environment
from serve_app.held_output import HeldOutput, say
from serve_app.readiness import missing

NOTICE_INTERVAL_S = 60
"""How often it says what it still waits for."""

STOP_TIMEOUT_S = 15
"""How long running requests may take to end after Ctrl-C, before their processes are killed."""


class ServiceProcess:
    """`serve run` as a child process, and what it started."""

    def __init__(self, config_file: str, engines: int, stopping: threading.Event) -> None:
        """Starts it for the file's number of engines; `stopping` ends all waiting."""
        self._stopping = stopping
        self._child = subprocess.Popen(
            [sys.executable, "-m", "serve_app.serve_run", config_file],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**service_environment(engines), **os.environ},
            start_new_session=True,  # Ctrl-C goes to this process alone, which then stops the child in order
        )
        assert self._child.stdout is not None
        self._output = HeldOutput(self._child.stdout)

    def wait_until_ready(self, health_url: str) -> str | None:
        """Returns None when the graph is up or a signal has come, else what went wrong."""
        notice_s = time.monotonic() + NOTICE_INTERVAL_S
        while not self._stopping.wait(0.25):
            if not self._running():
                self._output.wait_for_end(timeout_s=5)
                self._output.show("Ray and Serve said:")
                return "Not started: Ray or the service ended early; the lines above say why."
            reasons = missing(health_url)
            if not reasons:
                return None
            if time.monotonic() > notice_s:
                notice_s += NOTICE_INTERVAL_S
                self._output.show("Ray and Serve say:")
                waiting = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
                say(
                    f"Still waiting ({waiting}). Loading a checkpoint for the first time downloads it; a deployment "
                    "without the GPUs or CPUs that it asks for waits for ever.\n"
                )
        return None

    def announce(self, text: str) -> None:
        """Prints `text`; from then on the service's own output is shown."""
        self._output.pass_on()
        say(text)

    def wait_until_stopped(self) -> str | None:
        """Returns None after a signal, else that the service ended by itself."""
        while not self._stopping.wait(0.5):
            if not self._running():
                return f"The service ended by itself, with status {self._child.returncode}."
        return None

    def stop(self) -> None:
        """Ends the child and all that it started, without its last words; what does not end in time is killed.

        Where it was not ready yet, what it has said until now is shown.
        """
        self._output.show("Stopped before it was ready. Ray and Serve said:")
        self._output.silence()
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
