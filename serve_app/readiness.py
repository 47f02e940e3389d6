"""What is missing until a service is ready, as its /healthz says."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http.client import HTTPException

ANSWER_TIMEOUT_S = 5

# A proxy that the environment names is for other machines.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def missing(health_url: str) -> dict[str, str]:
    """Deployment name → what is missing; empty when the service is ready."""
    try:
        with _OPENER.open(health_url, timeout=ANSWER_TIMEOUT_S):
            return {}
    except urllib.error.HTTPError as error:
        return _reasons(error)
    except (OSError, HTTPException):
        return {"Ray": "starts"}


def _reasons(answer: urllib.error.HTTPError) -> dict[str, str]:
    """What /healthz says; while there is no ingress, Serve's proxy answers in its place."""
    try:
        reasons: dict[str, str] = json.load(answer)["missing"]
    except (OSError, HTTPException, ValueError, LookupError, TypeError):
        return {"Ingress": "starts"}
    return reasons
