"""What is noted about a request while it runs, for its log line and its metrics."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class RequestRecord:
    """Filled in by the ingress, read when the answer has gone out."""

    model: str = ""
    """Served name."""
    key_name: str = ""
    """Name of the API key."""
    pictures: int = 0
    retries: int = 0
    """How often the job was sent again because its replica was lost."""
    late_status: int = 0
    """The status of an error that came when the answer had already begun; 0 where there was none."""
    details: dict[str, object] = field(default_factory=dict)
    """Size, steps and the like; never the prompt."""
    stages_s: dict[str, float] = field(default_factory=dict)
