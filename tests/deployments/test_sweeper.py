"""What is deleted from a store, when, and what is left alone."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from deployments.errors import PictureNotFound
from deployments.storage import SWEPT, Storage
from deployments.store_config import StorageConfig
from deployments.sweeper import Sweeper
from tests.deployments.fake_bucket import FakeBucket
from tests.deployments.stored import OLD_ID, RESPONSE, healthy
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("ray_passes_records_on")


KEPT_S = 3600 + 300


def sweeper(config: StorageConfig) -> Sweeper:
    return Sweeper(config.open(), folder=config.folder, names=SWEPT, keep_s=config.keep_s, interval_s=60)


@pytest.mark.parametrize(("age_s", "kept"), [(3599, True), (KEPT_S - 1, True), (KEPT_S + 1, False)])
def test_picture_is_deleted_only_after_its_url_expired(folder: Path, age_s: float, kept: bool) -> None:
    config = StorageConfig(location=str(folder))
    stored = asyncio.run(Storage(config).put(RESPONSE))
    deleted = sweeper(config).sweep(time.time() + age_s)
    assert {name.name for name in folder.iterdir()} == ({p.id for p in stored.pictures} if kept else set())
    assert deleted == (0 if kept else 3)


def test_sweep_of_a_bucket_deletes_expired_pictures_only(bucket: FakeBucket) -> None:
    config = StorageConfig(location="s3://bucket/pre", endpoint=bucket.endpoint, region="here")
    now_s = time.time()
    fresh = OLD_ID.replace("0", "f")
    bucket.objects = {
        f"pre/{OLD_ID}": (b"", now_s - KEPT_S - 2),
        f"pre/{fresh}": (b"", now_s - KEPT_S + 2),
        "pre/README.png": (b"", 0.0),
        f"pre/deeper/{OLD_ID}": (b"", 0.0),
        f"other/{OLD_ID}": (b"", 0.0),
    }
    assert sweeper(config).sweep(now_s) == 1
    assert bucket.objects.keys() == {f"pre/{fresh}", "pre/README.png", f"pre/deeper/{OLD_ID}", f"other/{OLD_ID}"}


def test_sweep_leaves_files_of_others_alone(folder: Path) -> None:
    config = StorageConfig(location=str(folder))
    names = [
        "README",
        "holiday.png",
        f"{OLD_ID}.txt",
        f"x{OLD_ID}",
        "#1",
        f"{OLD_ID}#",
        ".url_keys",
        f"{'0' * 31}.png#1",
        f"{'0' * 64}.choice",
        f"{'0' * 64}.choice#1",
    ]
    local = sweeper(config)
    for name in names:
        (folder / name).write_text("")
    (folder / "sub").mkdir()
    (folder / "sub" / OLD_ID).write_text("")
    assert local.sweep(time.time() + 1e9) == 0
    assert {*os.listdir(folder)} == {*names, "sub"}


@pytest.mark.parametrize(("age_s", "kept"), [(KEPT_S - 10, True), (KEPT_S + 10, False)])
def test_interrupted_write_is_swept_away(folder: Path, age_s: float, kept: bool) -> None:
    config = StorageConfig(location=str(folder))
    local = sweeper(config)
    (folder / f"{OLD_ID}#1").write_bytes(b"half of a pict")
    assert local.sweep(time.time() + age_s) == (0 if kept else 1)
    assert (folder / f"{OLD_ID}#1").exists() is kept


def test_storage_sweeps_away_what_an_earlier_run_left(folder: Path) -> None:
    folder.mkdir()
    (folder / OLD_ID).write_bytes(b"old")
    os.utime(folder / OLD_ID, (0, 0))
    storage = Storage(StorageConfig(location=str(folder), sweep_interval_s=0.05))
    eventually(lambda: not (folder / OLD_ID).exists())
    storage.check_health()


def test_storage_sweeps_again_and_again(folder: Path) -> None:
    config = StorageConfig(location=str(folder), url_ttl_s=1, keep_margin_s=1, sweep_interval_s=0.05)
    storage = Storage(config)
    stored = asyncio.run(storage.put(RESPONSE))
    stored_s = time.time()
    eventually(lambda: os.listdir(folder) == [])
    assert time.time() - stored_s > 1.5, "not before its URL could have expired"
    with pytest.raises(PictureNotFound):
        asyncio.run(storage.get(stored.pictures[0].id))


def test_sweeper_outlives_a_failing_store(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    storage = Storage(StorageConfig(location=str(folder), sweep_interval_s=0.05))
    folder.rmdir()
    folder.write_text("a file where the folder was")
    eventually(lambda: "could not be swept" in caplog.text)
    folder.unlink()
    folder.mkdir()
    (folder / OLD_ID).write_bytes(b"old")
    os.utime(folder / OLD_ID, (0, 0))
    eventually(lambda: not (folder / OLD_ID).exists())
    storage.check_health()


def test_two_sweepers_do_not_hinder_each_other(folder: Path) -> None:
    """What one deletes between the other's listing and deleting is no error, and each file is counted once."""
    config = StorageConfig(location=str(folder))
    sweepers = [sweeper(config), sweeper(config)]
    for index in range(3000):
        (folder / f"{index:032x}.png").write_bytes(b"")
    with ThreadPoolExecutor(2) as pool:
        deleted = list(pool.map(lambda one: one.sweep(time.time() + 1e9), sweepers))
    assert sum(deleted) == 3000
    assert os.listdir(folder) == []


def test_a_bucket_that_misses_what_is_to_be_deleted_is_swept_all_the_same(folder: Path) -> None:
    config = StorageConfig(location=str(folder))
    store = config.open()
    names = [f"{index:032x}.png" for index in range(3)]
    for name in names:
        (folder / name).write_bytes(b"")

    class Late:
        """Hands out a listing, after which the first picture vanishes."""

        def list(self, chunk_size: int) -> Any:
            chunks = list(store.list(chunk_size=chunk_size))
            (folder / names[0]).unlink()
            return chunks

        def delete(self, paths: Any) -> None:
            store.delete(paths)

    late: Any = Late()
    bucket = Sweeper(late, folder=None, names=SWEPT, keep_s=0, interval_s=60)
    bucket.sweep(time.time() + 1e9)
    sweeper(config).sweep(time.time() + 1e9)
    assert os.listdir(folder) == []


def test_what_can_not_be_listed_or_deleted_does_not_keep_the_rest(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = StorageConfig(location=str(folder))
    local = sweeper(config)
    (folder / "lost+found").mkdir(mode=0)
    unreadable = os.fsencode(folder) + b"/\xff"  # obstore can't read this name, and as root the folder above it can
    os.mkdir(unreadable)
    os.close(os.open(unreadable + b"/file", os.O_CREAT))
    (folder / OLD_ID.replace("0", "a")).mkdir()
    (folder / OLD_ID).write_bytes(b"old")
    assert local.sweep(time.time() + 1e9) == 1
    assert not (folder / OLD_ID).exists()
    assert len(os.listdir(folder)) == 3
    assert "1 expired files could not be deleted" in caplog.text


def test_stopped_storage_sweeps_no_more(folder: Path) -> None:
    storage = Storage(StorageConfig(location=str(folder), sweep_interval_s=0.01))
    storage.__del__()
    eventually(lambda: not healthy(storage))
