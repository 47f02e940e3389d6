"""The tests, and the environment of a whole run of them: set here, before anything imports Ray."""

import os
import tempfile
from pathlib import Path

from serve_app.haproxy import haproxy_environment

# Ray's threads would otherwise be set by each replica's num_cpus.
os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "30")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
_PROXY_FOLDER = tempfile.TemporaryDirectory(prefix="sdxl-", dir="/tmp")
PROXY = haproxy_environment(Path(_PROXY_FOLDER.name), "127.0.0.1", has_keys=False, request_timeout_s=60)
"""What `scripts/serve` sets too, so that the tests go through the same proxy."""
os.environ.update(PROXY)
