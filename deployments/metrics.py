"""An engine's stats as Ray metrics."""

from __future__ import annotations

from dataclasses import asdict

from ray.serve import metrics

from deployments.engine_stats import EngineStats


class StatsExport:
    """A gauge for each of an engine's stats: `images_engine_rows` and so on."""

    def __init__(self) -> None:
        self._gauges = {name: metrics.Gauge(f"images_engine_{name}") for name in asdict(EngineStats())}

    def export(self, stats: EngineStats) -> None:
        """Sets every gauge to what the engine says now."""
        for name, value in asdict(stats).items():
            self._gauges[name].set(value)
