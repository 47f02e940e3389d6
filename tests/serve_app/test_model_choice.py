"""The chosen model is kept young by its readers, who neither undo a choice nor fail over it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from serve_app.catalog import Catalog
from serve_app.model_choice import ModelChoice
from tests.conftest import fake_config
from tests.serve_app.test_idempotency_protocol import DirectStore


class CountingStore(DirectStore):
    """Counts what is written."""

    writes = 0

    async def write_record(self, record_id: str, data: bytes) -> None:
        self.writes += 1
        await super().write_record(record_id, data)


@pytest.mark.parametrize(("kept_s", "writes"), [(3600, 1), (0, 3)])
def test_reading_writes_a_choice_again_only_when_it_is_old(kept_s: float, writes: int) -> None:
    async def write_once_read_twice() -> int:
        store = CountingStore()
        choice = ModelChoice(store, CATALOG, kept_s)
        await choice.write("ann", CATALOG.find("dall-e-2"))
        assert (await choice.read("ann")).name == (await choice.read("ann")).name == "dall-e-2"
        assert (await choice.read("bob")).name == "be-fake"
        return store.writes

    assert asyncio.run(write_once_read_twice()) == writes


def test_a_full_store_does_not_hinder_readers() -> None:
    async def read_from_a_full_store() -> str:
        store = CountingStore()
        choice = ModelChoice(store, CATALOG, 0)
        await choice.write("ann", CATALOG.find("dall-e-2"))
        store.broken = "write_record"
        return (await choice.read("ann")).name

    assert asyncio.run(read_from_a_full_store()) == "dall-e-2"


CATALOG = Catalog(fake_config(Path("nowhere")))
