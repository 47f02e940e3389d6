"""Storage on a folder, on a bucket (an S3 service on loopback) and in memory."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import resource
import time
from pathlib import Path

import pytest

from deployments.contracts import Picture, PipelineResponse
from deployments.errors import PictureNotFound, StoreUnavailable
from deployments.storage import Storage, media_type
from deployments.store_config import StorageConfig
from tests.deployments.fake_bucket import FakeBucket
from tests.deployments.stored import OLD_ID, PICTURES, RESPONSE
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("ray_passes_records_on")


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


def test_errors_survive_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(PictureNotFound("There is no such picture.")))
    assert (type(error), str(error)) == (PictureNotFound, "There is no such picture.")
