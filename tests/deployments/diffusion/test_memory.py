"""The memory probe's arithmetic and its file; the measuring needs a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.config import EngineConfig
from deployments.diffusion.memory import Footprint, remembered
from deployments.diffusion.warm_up import _measured_rows


def test_the_budget_fills_the_free_memory_but_a_reserve() -> None:
    assert Footprint(forward_bytes=100, decode_bytes=1000).budget(free_bytes=1_000_000, decode_pixels=256) == 9000


def test_a_decode_that_never_fits_is_found_at_the_start() -> None:
    with pytest.raises(MemoryError, match="decode_batch"):
        Footprint(forward_bytes=100, decode_bytes=1000).budget(free_bytes=100_000, decode_pixels=256)


@pytest.mark.parametrize(
    ("config", "rows"),
    [
        (EngineConfig(), (2, 4)),
        (EngineConfig(compile=True), (1, 2)),
        (EngineConfig(compile=True, row_buckets=(8, 4)), (4, 8)),
        (EngineConfig(compile=True, row_buckets=(6,)), (0, 6)),
    ],
)
def test_two_passes_are_compared_that_padding_leaves_different(config: EngineConfig, rows: tuple[int, int]) -> None:
    assert _measured_rows(config) == rows


def test_a_measurement_is_made_once(tmp_path: Path) -> None:
    file = tmp_path / "cache" / "memory.json"
    first = remembered(file, "this GPU", lambda: Footprint(1, 2))
    again = remembered(file, "this GPU", lambda: pytest.fail("measured again"))
    assert first == again == Footprint(1, 2)
    assert remembered(file, "another GPU", lambda: Footprint(3, 4)) == Footprint(3, 4)


def test_a_cache_that_can_not_be_written_hinders_no_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    file = tmp_path / "cache" / "memory.json"
    assert remembered(file, "this GPU", lambda: Footprint(1, 2)) == Footprint(1, 2)
    assert "could not be kept" in caplog.text
