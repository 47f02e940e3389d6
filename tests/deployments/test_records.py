"""Records on a folder, on a bucket and in memory."""

from __future__ import annotations

import asyncio
import time

import pytest

from deployments.errors import StoreUnavailable
from deployments.storage import Storage
from deployments.store_config import StorageConfig
from tests.deployments.fake_bucket import FakeBucket

RECORD = f"{'0f' * 32}.0.record"


def test_of_several_that_create_a_record_one_does(config: StorageConfig) -> None:
    storages = [Storage(config) for _ in range(1 if config.location == "memory://" else 3)] * 3

    async def create_all() -> list[bool]:
        return await asyncio.gather(*(s.create_record(RECORD, b"%d" % k) for k, s in enumerate(storages)))

    created = asyncio.run(create_all())
    assert sum(created) == 1
    assert asyncio.run(storages[0].read_record(RECORD)) == b"%d" % created.index(True)


def test_a_record_is_read_as_it_was_last_written_until_it_is_deleted(config: StorageConfig) -> None:
    storage = Storage(config)
    assert asyncio.run(storage.read_record(RECORD)) is None
    asyncio.run(storage.create_record(RECORD, b"one"))
    asyncio.run(storage.write_record(RECORD, b"two"))
    assert asyncio.run(storage.read_record(RECORD)) == b"two"
    asyncio.run(storage.delete_objects([RECORD]))
    assert asyncio.run(storage.read_record(RECORD)) is None
    assert asyncio.run(storage.create_record(RECORD, b"three"))


def test_a_record_goes_with_its_age(config: StorageConfig) -> None:
    storage = Storage(config)
    asyncio.run(storage.create_record(RECORD, b"one"))
    sweeper = storage._sweeper
    assert sweeper.sweep(time.time() + config.keep_s - 60) == 0
    assert sweeper.sweep(time.time() + config.keep_s + 60) == 1
    assert asyncio.run(storage.read_record(RECORD)) is None


def test_a_store_that_refuses_is_unavailable(bucket: FakeBucket) -> None:
    storage = Storage(StorageConfig(location="s3://bucket", endpoint=bucket.endpoint, region="here"))
    for write in (storage.create_record, storage.write_record):
        bucket.fail_put = 0
        with pytest.raises(StoreUnavailable):
            asyncio.run(write(RECORD, b"one"))
