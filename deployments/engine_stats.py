"""What the engine counts. The deployments export it as metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class EngineStats:
    """Counters grow for ever; gauges say how it is now. Written by the engine's thread alone."""

    ticks: int = 0
    """Counter: forward passes with their steps."""
    finished: int = 0
    """Counter: jobs whose pictures were drawn."""
    failed: int = 0
    """Counter: jobs that ended with an error of their own."""
    cancelled: int = 0
    """Counter: jobs that nobody waited for any more."""
    overdue: int = 0
    """Counter: jobs whose deadline passed."""
    out_of_memory: int = 0
    """Counter: forward passes that the device had no memory for."""
    nan_retries: int = 0
    """Counter: jobs whose pictures were decoded again in fp32."""
    padded_rows: int = 0
    """Counter: UNet rows that only fill passes up to a row bucket."""
    unrehearsed: int = 0
    """Counter: forward passes of a shape that the warm-up had not run: the first of a shape may take longer."""
    recompiles: int = 0
    """Counter: graphs that this process compiled since the warm-up; there should be none."""
    rows: int = 0
    """Gauge: UNet rows of the last forward pass."""
    running: int = 0
    """Gauge: jobs that have begun."""
    waiting: int = 0
    """Gauge: jobs that have not begun."""
    budget: int = 0
    """Gauge: most rows x latent pixels of one forward pass."""
