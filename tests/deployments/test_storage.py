"""Storage on a folder, on a bucket (an S3 service on loopback) and in memory."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import re
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ray import serve

from deployments.contracts import Picture, PipelineResponse
from deployments.errors import PictureNotFound, StoreUnavailable
from deployments.storage import SWEPT, Storage, media_type
from deployments.store_config import StorageConfig
from deployments.sweeper import Sweeper
from tests.deployments.fake_bucket import FakeBucket

PICTURES = (Picture(b"one", "png", 7), Picture(b"two" * 100, "jpeg", 8), Picture(b"three", "webp", 9))
RESPONSE = PipelineResponse(PICTURES, {"denoise": 1.5}, prompt_tokens=3)
OLD_ID = "0123456789abcdef0123456789abcdef.png"
KEPT_S = 3600 + 300


@pytest.fixture(autouse=True)
def _ray_passes_records_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Ray keeps its loggers' records from the root logger, where caplog listens."""
    for name in ("ray", "ray.serve"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    caplog.set_level(logging.INFO, "ray.serve")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


def sweeper(config: StorageConfig) -> Sweeper:
    return Sweeper(config.open(), folder=config.folder, names=SWEPT, keep_s=config.keep_s, interval_s=60)


def eventually(holds: Callable[[], bool], within_s: float = 5) -> None:
    deadline_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline_s, "it did not come to hold in time"
        time.sleep(0.01)


def healthy(storage: Storage) -> bool:
    try:
        storage.check_health()
    except StoreUnavailable:
        return False
    return True


def test_stored_pictures_come_back_by_their_ids(config: StorageConfig) -> None:
    async def story() -> None:
        storage = Storage(config)
        stored = await storage.put(RESPONSE)
        assert [picture.seed for picture in stored.pictures] == [7, 8, 9]
        assert [await storage.get(picture.id) for picture in stored.pictures] == [p.data for p in PICTURES]
        assert [await storage.head(picture.id) for picture in stored.pictures] == [3, 300, 5]

    asyncio.run(story())


def test_stored_response_keeps_what_the_pipeline_said(config: StorageConfig) -> None:
    stored = asyncio.run(Storage(config).put(RESPONSE))
    assert stored.stages_s.keys() == {"denoise", "store"}
    assert stored.stages_s["denoise"] == 1.5
    assert 0 < stored.stages_s["store"] < 5
    assert stored.prompt_tokens == 3
    assert stored.skeleton is None


def test_skeleton_is_stored_beside_the_pictures(config: StorageConfig) -> None:
    async def story() -> None:
        storage = Storage(config)
        skeleton = Picture(b"bones", "png", 7)
        stored = await storage.put(PipelineResponse(PICTURES[:1], {}, 1, skeleton))
        assert len(stored.pictures) == 1
        assert stored.skeleton is not None
        assert await storage.get(stored.skeleton.id) == b"bones"

    asyncio.run(story())


def test_pictures_outlive_a_restart(tmp_path: Path) -> None:
    config = StorageConfig(location=str(tmp_path))
    stored = asyncio.run(Storage(config).put(RESPONSE))
    assert asyncio.run(Storage(config).get(stored.pictures[0].id)) == b"one"


def test_ids_are_random_and_end_in_the_format(folder: Path) -> None:
    storage = Storage(StorageConfig(location=str(folder)))
    ids = [picture.id for _ in range(20) for picture in asyncio.run(storage.put(RESPONSE)).pictures]
    assert len({picture_id[:32] for picture_id in ids}) == 60
    assert all(re.fullmatch(r"[0-9a-f]{32}\.(png|jpeg|webp)", picture_id) for picture_id in ids)
    assert [media_type(picture_id) for picture_id in ids[:3]] == ["image/png", "image/jpeg", "image/webp"]


@pytest.mark.parametrize(
    "picture_id",
    [
        OLD_ID,
        "",
        ".",
        "..",
        "../secret.png",
        "/etc/passwd",
        "0" * 32,
        f"{'0' * 32}.gif",
        f"{'0' * 31}.png",
        f"{'A' * 32}.png",
        f"{'0' * 32}.png\n",
        f"{'0' * 32}.png#1",
        f"../{'0' * 32}.png",
        f"{'0' * 32}.png/../x",
        "\0",
        "\ud800",
        "x" * 100_000,
    ],
)
def test_unknown_picture_is_not_found(config: StorageConfig, picture_id: str) -> None:
    storage = Storage(config)
    for ask in (storage.get, storage.head):
        with pytest.raises(PictureNotFound, match="no such picture"):
            asyncio.run(ask(picture_id))


def test_path_of_another_file_reaches_nothing(tmp_path: Path) -> None:
    (tmp_path / OLD_ID).write_bytes(b"secret")
    storage = Storage(StorageConfig(location=str(tmp_path / "pictures")))
    with pytest.raises(PictureNotFound):
        asyncio.run(storage.get(f"../{OLD_ID}"))


def test_full_disk_leaves_no_part_of_a_response(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The limit on a file's size stands in for a full disk: the write of the large picture breaks off in its middle."""
    storage = Storage(StorageConfig(location=str(folder)))
    response = PipelineResponse((*PICTURES, Picture(b"x" * (2 << 20), "png", 1)), {}, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(StoreUnavailable) as refused:
            asyncio.run(storage.put(response))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(folder) == []
    assert str(folder) not in str(refused.value)
    assert "File too large" in caplog.text, "the log has the cause"


def test_refusing_bucket_leaves_no_part_of_a_response(bucket: FakeBucket, caplog: pytest.LogCaptureFixture) -> None:
    storage = Storage(StorageConfig(location="s3://bucket", endpoint=bucket.endpoint, region="here"))
    eventually(lambda: "POST " in bucket.requests)  # the probe is over
    bucket.fail_put = 3
    with pytest.raises(StoreUnavailable) as refused:
        asyncio.run(storage.put(RESPONSE))
    assert bucket.objects == {}
    assert "127.0.0.1" not in str(refused.value)
    assert "QuotaExceeded" in caplog.text


def test_unusable_folder_is_unavailable_and_then_works_again(folder: Path) -> None:
    storage = Storage(StorageConfig(location=str(folder)))
    folder.rmdir()
    folder.write_text("a file where the folder was")
    with pytest.raises(StoreUnavailable, match="could not be written") as unwritable:
        asyncio.run(storage.put(RESPONSE))
    with pytest.raises(StoreUnavailable, match="could not be read") as unreadable:
        asyncio.run(storage.get(OLD_ID))
    assert str(folder) not in f"{unwritable.value}{unreadable.value}"
    folder.unlink()
    assert len(asyncio.run(storage.put(RESPONSE)).pictures) == 3


def test_unusable_folder_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "pictures"
    with pytest.raises(OSError, match=f"storage.location: the folder {folder} can't be .*: Not a directory"):
        Storage(StorageConfig(location=str(folder)))


def test_a_folder_that_can_not_be_written_is_said_at_the_start() -> None:
    with pytest.raises(OSError, match=r"storage.location: the folder /proc/self/fd can't be made or written"):
        Storage(StorageConfig(location="/proc/self/fd"))


def test_the_start_leaves_nothing_in_the_store(config: StorageConfig, request: pytest.FixtureRequest) -> None:
    Storage(config)
    if config.folder is not None:
        assert os.listdir(config.folder) == []
    elif config.scheme == "s3":
        bucket: FakeBucket = request.getfixturevalue("bucket")
        eventually(lambda: "POST " in bucket.requests and not bucket.objects)
        assert any(line.startswith("PUT some/prefix/") for line in bucket.requests)


def test_a_bucket_that_can_not_be_written_is_said_in_the_log(
    bucket: FakeBucket, caplog: pytest.LogCaptureFixture
) -> None:
    bucket.fail_put = 0
    storage = Storage(StorageConfig(location="s3://bucket/pre", endpoint=bucket.endpoint, region="here"))
    eventually(lambda: "pictures can't be kept" in caplog.text)
    assert "s3://bucket/pre" in caplog.text
    assert "QuotaExceeded" in caplog.text
    bucket.fail_put = None
    assert len(asyncio.run(storage.put(RESPONSE)).pictures) == 3


def test_slow_bucket_does_not_hold_the_event_loop(bucket: FakeBucket) -> None:
    storage = Storage(StorageConfig(location="s3://bucket", endpoint=bucket.endpoint, region="here"))
    bucket.delay_s = 0.6

    async def longest_pause_s() -> float:
        stored = asyncio.create_task(storage.put(RESPONSE))
        longest_s = 0.0
        while not stored.done():
            before_s = time.perf_counter()
            await asyncio.sleep(0.001)
            longest_s = max(longest_s, time.perf_counter() - before_s)
        await stored
        return longest_s

    assert asyncio.run(longest_pause_s()) < 0.5


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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"location": " "}, "location is empty"),
        ({"location": "ftp://host/x"}, "'ftp://host/x' is neither a local folder nor one of s3://, gs://, az://"),
        ({"location": "s3:/x"}, "'s3:/x' names no bucket; it must be s3://BUCKET/PREFIX"),
        ({"location": "gs://"}, "'gs://' names no bucket"),
        ({"location": "az:///prefix"}, "'az:///prefix' names no bucket"),
        ({"location": "pictures", "endpoint": "http://x"}, "endpoint 'http://x' needs"),
        ({"location": "gs://x", "region": "here"}, "region 'here' needs"),
        ({"location": "s3://x", "shared_folder": True}, "shared_folder is about a local folder"),
        ({"url_ttl_s": 0}, "url_ttl_s"),
        ({"keep_margin_s": 0}, "keep_margin_s"),
        ({"secret_access_key": "x"}, "secret_access_key"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        StorageConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "replicas", "fits"),
    [
        ({"location": "x"}, 1, True),
        ({"location": "x"}, 2, False),
        ({"location": "x", "shared_folder": True}, 2, True),
        ({"location": "memory://"}, 2, False),
        ({"location": "s3://x"}, 9, True),
    ],
)
def test_local_folder_serves_one_replica_unless_shared(settings: dict[str, Any], replicas: int, fits: bool) -> None:
    config = StorageConfig(**settings)
    if fits:
        config.check_replicas(replicas)
    else:
        with pytest.raises(ValueError, match="shared_folder: true"):
            config.check_replicas(replicas)


def test_a_local_folder_is_refused_to_replicas_that_may_become_several(serve_url: str, folder: Path) -> None:
    scaling = {"min_replicas": 1, "max_replicas": 2}
    storage = serve.deployment(Storage, autoscaling_config=scaling, max_constructor_retry_count=1)
    try:
        with pytest.raises(RuntimeError):
            serve.run(storage.bind(StorageConfig(location=str(folder))), name="grows", route_prefix=None)
        message = serve.status().applications["grows"].deployments["Storage"].message
    finally:
        serve.delete("grows")
    assert "serves one storage replica, not 2" in message


@pytest.mark.parametrize("location", ["s3://bucket/prefix", "gs://bucket/prefix", "az://container/prefix"])
def test_every_kind_of_bucket_opens(location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    StorageConfig(location=location).open()


def test_every_setting_is_described() -> None:
    assert all(field.description for field in StorageConfig.model_fields.values())


def test_errors_survive_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(PictureNotFound("There is no such picture.")))
    assert (type(error), str(error)) == (PictureNotFound, "There is no such picture.")
