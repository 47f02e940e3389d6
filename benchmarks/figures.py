"""What `benchmarks.service` measured of one system, and how the service compares with its peers."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.report import percentile

RATE = "pictures/s"
"""What a column's name ends with where more is better; of the others, which are seconds, less is."""


@dataclass
class Figures:
    """Of all rounds."""

    saturated: list[float] = field(default_factory=list)
    """Pictures a second with the workload's clients; empty for a peer."""
    one_client: list[float] = field(default_factory=list)
    eight_clients: list[float] = field(default_factory=list)
    mixed: list[float] = field(default_factory=list)
    """Pictures a second of eight clients with mixed jobs."""
    small_s: list[float] = field(default_factory=list)
    """Seconds of one client's small pictures; empty for a peer."""
    waits: list[tuple[int, float]] = field(default_factory=list)
    """Steps and seconds of each mixed job."""

    def row(self, system: str) -> dict[str, Any]:
        """A line of the table."""
        short = [seconds for steps, seconds in self.waits if steps == min(steps for steps, _ in self.waits)]
        everyone = [seconds for _, seconds in self.waits]
        medians = {
            f"one client: {RATE}": self.one_client,
            f"eight: {RATE}": self.eight_clients,
            f"saturated: {RATE}": self.saturated,
            f"mixed, eight: {RATE}": self.mixed,
            "one client, small: p50 s": self.small_s,
            "mixed: p50 s": everyone,
        }
        return {
            "system": system,
            **{column: statistics.median(values) for column, values in medians.items() if values},
            "mixed: p95 s": percentile(everyone, 95),
            "mixed: mean s": statistics.mean(everyone),
            "mixed: p95 s of short": percentile(short, 95),
        }


def compare(service: Mapping[str, Any], peers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For each column that the peers have too, the service's figure by that of the better peer, and which that is."""
    ratios: dict[str, Any] = {}
    better: dict[str, str] = {}
    for column in (column for column in service if column in peers[0] and column != "system"):
        choose = max if column.endswith(RATE) else min
        peer = choose(peers, key=lambda row: row[column])
        ratios[f"service / better peer, {column}"] = service[column] / peer[column]
        better[column] = peer["system"]
    return {**ratios, "better peer": better}
