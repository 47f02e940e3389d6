"""Forward passes of few different row counts, so that each can be made ready before the first job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

GPU_BUCKETS = (2, 4, 8, 16)
"""One to eight pictures with guidance: two UNet rows a picture."""


def passes(
    rows: int, most: int, buckets: Sequence[int], seconds: Mapping[int, float] | None = None
) -> list[tuple[int, int]]:
    """Cuts rows into passes that take the least time together: 10 rows are 8 and 2, if that is faster than 16.

    Args:
        rows: How many there are.
        most: The rows that one pass may have; but no less than the smallest bucket.
        buckets: The row counts to pad to. Where there are none, nothing is padded.
        seconds: What a pass of each bucket takes. Unset: in proportion to its rows, so that the least is padded.

    Returns:
        For each pass its rows, and the rows it is padded to.
    """
    if not buckets:
        return [(min(most, rows - start), min(most, rows - start)) for start in range(0, rows, most)]
    usable = [bucket for bucket in buckets if bucket <= most] or [min(buckets)]
    cost = seconds if seconds and all(bucket in seconds for bucket in usable) else {bucket: bucket for bucket in usable}
    best: list[tuple[float, int, tuple[int, ...]]] = [(0.0, 0, ())]  # by rows: time, number of passes, the passes
    for count in range(1, rows + 1):
        before = {bucket: best[max(0, count - bucket)] for bucket in usable}
        best.append(min((time + cost[new], number + 1, (*cut, new)) for new, (time, number, cut) in before.items()))
    cut_rows = []
    for bucket in sorted(best[rows][2], reverse=True):
        cut_rows.append((min(bucket, rows), bucket))
        rows -= bucket
    return cut_rows
