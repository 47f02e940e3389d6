"""`python -m serve_app.serve_run CONFIG.yaml`: `serve run` on a Ray of its own, until an application can't be deployed.

`serve run` itself would go on for ever then.
"""

from __future__ import annotations

import signal
import sys
import threading

import ray
from ray import serve
from ray.serve.schema import ServeStatus
from ray.serve.scripts import cli

LOOK_INTERVAL_S = 1.0


def main(config_file: str) -> None:
    """Runs until SIGINT or a failure, and exits; what Serve says of a failure comes last."""
    failures: list[str] = []
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(failures, ended), daemon=True)
    watcher.start()
    try:
        cli(["run", "--address", "local", config_file])
    except SystemExit:  # the command's only end
        ended.set()
        watcher.join()
        if failures:
            sys.exit("\n".join(failures))
        raise


def _watch(failures: list[str], ended: threading.Event) -> None:
    """Looks until every application runs, or one can't: then `failures` says why, and the main thread is stopped."""
    while not ended.wait(LOOK_INTERVAL_S):
        if not ray.is_initialized():  # the question itself would start a Ray
            continue
        try:
            status = serve.status()
        except Exception:  # Serve has just begun to start, or to stop
            continue
        failures += _failures(status)
        if failures:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        if failures or _all_run(status):
            return


def _failures(status: ServeStatus) -> list[str]:
    """What Serve says of applications and deployments that it has given up."""
    return [
        f"{name}: {state.message}"
        for app_name, application in status.applications.items()
        for name, state in [*application.deployments.items(), (app_name, application)]
        if application.status == state.status == "DEPLOY_FAILED"
    ]


def _all_run(status: ServeStatus) -> bool:
    return bool(status.applications) and all(app.status == "RUNNING" for app in status.applications.values())


if __name__ == "__main__":
    main(sys.argv[1])
