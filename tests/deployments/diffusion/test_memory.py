"""The memory probe's arithmetic and its file; the measuring needs a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.diffusion.kept_files import remembered
from deployments.diffusion.memory import Footprint
from deployments.diffusion.warm_up import measured_rows


def test_the_budget_fills_the_free_memory_but_a_reserve() -> None:
    assert Footprint(forward_bytes=100, decode_bytes=1000).budget(free_bytes=1_000_000, decode_pixels=256) == 9000


def test_a_decode_that_never_fits_is_found_at_the_start() -> None:
    with pytest.raises(MemoryError, match="one picture"):
        Footprint(forward_bytes=100, decode_bytes=1000).budget(free_bytes=100_000, decode_pixels=256)


@pytest.mark.parametrize(("buckets", "rows"), [((), (2, 4)), ((2, 4, 8, 16), (2, 4)), ((4, 8), (4, 8)), ((6,), (0, 6))])
def test_two_passes_are_compared_that_padding_leaves_different(buckets: tuple[int, ...], rows: tuple[int, int]) -> None:
    assert measured_rows(buckets) == rows


def test_a_measurement_is_made_once(tmp_path: Path) -> None:
    file = tmp_path / "cache" / "measured.json"
    first = remembered(file, "this GPU", lambda: {"rows": 1})
    again = remembered(file, "this GPU", lambda: pytest.fail("measured again"))
    assert first == again == {"rows": 1}
    assert remembered(file, "another GPU", lambda: {"rows": 3}) == {"rows": 3}
    assert remembered(file, "this GPU", lambda: pytest.fail("measured again")) == {"rows": 1}


def test_a_cache_that_can_not_be_written_hinders_no_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    file = tmp_path / "cache" / "measured.json"
    assert remembered(file, "this GPU", lambda: {"rows": 1}) == {"rows": 1}
    assert "could not be kept" in caplog.text
