"""The ingress's metrics, next to those that Ray Serve and the engines export."""

from __future__ import annotations

from ray.serve import metrics

from serve_app.records import RequestRecord

STAGE_BOUNDARIES_S = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]


class Metrics:
    """Counters and histograms; built on the replica."""

    def __init__(self) -> None:
        self._requests = metrics.Counter(
            "images_requests", "Requests by route, model and status.", ("route", "model", "status")
        )
        self._pictures = metrics.Counter("images_pictures", "Pictures drawn.", ("model",))
        self._stages = metrics.Histogram(
            "images_stage_seconds", "Seconds by stage of a request.", STAGE_BOUNDARIES_S, ("stage", "model")
        )
        self._cancelled = metrics.Counter("images_cancelled", "Requests whose client went away.", ("route",))
        self._retried = metrics.Counter("images_retried", "Jobs sent again because their replica was lost.", ("model",))
        self._expired = metrics.Counter("images_expired", "Requests for a URL past its time.")

    def observe(self, route: str, status: int, record: RequestRecord) -> None:
        """Counts one answered request."""
        self._requests.inc(tags={"route": route, "model": record.model, "status": str(status)})
        if status == 410:
            self._expired.inc()
        if record.retries:
            self._retried.inc(record.retries, {"model": record.model})
        if status == 200 and record.pictures:
            self._pictures.inc(record.pictures, {"model": record.model})
        for stage, seconds in record.stages_s.items():
            self._stages.observe(seconds, {"stage": stage, "model": record.model})

    def observe_cancelled(self, route: str) -> None:
        """Counts one request whose client went away."""
        self._cancelled.inc(tags={"route": route})
