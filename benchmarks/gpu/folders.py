"""Where a run writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Folders:
    """All of it below these two."""

    out: Path
    """What is kept of the run."""
    work: Path
    """Caches and weights; deleted at its end."""

    @property
    def engine_cache(self) -> Path:
        """The engine's `cache_dir`."""
        return self.work / "engine"
