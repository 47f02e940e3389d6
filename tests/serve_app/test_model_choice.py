"""The chosen model is each key's own, and stays."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from deployments.records import Records
from deployments.storage import Storage
from deployments.store_config import StorageConfig
from serve_app.catalog import Catalog
from serve_app.model_choice import ModelChoice, _record_id
from tests.conftest import fake_config
from tests.serve_app.test_idempotency_protocol import DirectStore

CATALOG = Catalog(fake_config(Path("nowhere")))


def test_a_choice_is_of_one_key_and_outlives_the_pictures(tmp_path: Path) -> None:
    storage = Storage(StorageConfig(location=str(tmp_path)))
    store = DirectStore()
    store.records = Records(storage._store)

    async def chosen() -> list[str]:
        choice = ModelChoice(store, CATALOG)
        return [(await choice.read(key_name)).name for key_name in ("ann", "bob")]

    asyncio.run(ModelChoice(store, CATALOG).write("ann", CATALOG.find("dall-e-2")))
    asyncio.run(store.create_record(f"{'0f' * 32}.0.record", b"{}"))
    assert storage._sweeper.sweep(time.time() + 365 * 86400) == 1
    assert asyncio.run(chosen()) == ["dall-e-2", "be-fake"]
    storage._sweeper.stop()


def test_a_choice_that_is_no_longer_served_is_the_default(tmp_path: Path) -> None:
    store = DirectStore()
    config = fake_config(tmp_path)
    asyncio.run(ModelChoice(store, CATALOG).write("ann", CATALOG.find("dall-e-2")))
    del config.models[0].names["dall-e-2"]
    assert asyncio.run(ModelChoice(store, Catalog(config)).read("ann")).name == "be-fake"


def test_a_choice_that_can_not_be_read_is_the_default() -> None:
    store = DirectStore()

    async def read_what_a_crash_left() -> str:
        await store.write_record(_record_id("ann"), b"")
        return (await ModelChoice(store, CATALOG).read("ann")).name

    assert asyncio.run(read_what_a_crash_left()) == "be-fake"
