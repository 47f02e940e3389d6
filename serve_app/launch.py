"""`python -m serve_app.launch CONFIG.yaml`: a Ray of its own with the service on it, until a signal to stop."""

from __future__ import annotations

import logging
import signal
import sys
import threading

from serve_app.held_output import say
from serve_app.launch_config import LaunchConfig, LaunchError, read_config
from serve_app.service_process import ServiceProcess

READY = """
Ready: {base}

  curl {base}/v1/images/generations{auth_curl} -H 'Content-Type: application/json' \\
    -d '{{"model": "{model}", "prompt": "a red star on a blue background"}}'

  from openai import OpenAI
  client = OpenAI(base_url="{base}/v1", api_key="{auth_sdk}")
  print(client.images.generate(model="{model}", prompt="A cute baby sea otter").data[0].url)

In a browser: {base}/ draws, {base}/docs describes the API. Ctrl-C stops it.
"""


def main(config_file: str) -> int:
    """Runs until a signal; returns the exit status."""
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # this process speaks to a person, the others keep logs
    try:
        config = read_config(config_file)
    except LaunchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    stopping = threading.Event()
    for number in _stop_signals():  # first: a child of a shell's background job would ignore SIGINT
        signal.signal(number, lambda *_: stopping.set())
    service = ServiceProcess(config_file, config.engines, stopping)
    say(f"Starting Ray and the service of {config_file} …\n")
    try:
        problem = service.wait_until_ready(f"{config.local_url}/healthz")
        if problem is None and not stopping.is_set():
            service.announce(_ready(config))
            problem = service.wait_until_stopped()
    finally:
        service.stop()
    if problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return 0


def _stop_signals() -> list[signal.Signals]:
    """Ctrl-C, the usual signal, and the end of the terminal, unless `nohup` lets the service outlive it."""
    outlives_terminal = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if outlives_terminal else [signal.SIGHUP])]


def _ready(config: LaunchConfig) -> str:
    has_keys = config.app.access.key_file is not None
    return READY.format(
        base=config.local_url,
        model=next(iter(config.app.models[0].names)),
        auth_curl=" -H 'Authorization: Bearer YOUR_KEY'" if has_keys else "",
        auth_sdk="YOUR_KEY" if has_keys else "unused",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
