"""How replicas that know each other only by their store draw a request once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from obstore.store import MemoryStore
from pydantic import BaseModel

from deployments.errors import DeadlineExceeded, StoreUnavailable
from deployments.records import Records
from serve_app.errors import KeyReused
from serve_app.idempotency import Idempotency, Kept, Pace, RequestKey
from serve_app.store import Store

KEY = RequestKey(id="0f" * 32, fingerprint="one")
PACE = Pace(beat_s=0.02, lease_s=0.6, poll_s=0.01)


class Answer(BaseModel):
    number: int


class DirectStore(Store):
    """The store without a deployment between. What `broken` names fails."""

    def __init__(self) -> None:
        self.records = Records(MemoryStore())
        self.broken = ""

    async def create_record(self, record_id: str, data: bytes) -> bool:
        return await self.records.create_record(record_id, data)

    async def write_record(self, record_id: str, data: bytes) -> None:
        if self.broken == "write_record":
            raise StoreUnavailable("The picture store is full.")
        await self.records.write_record(record_id, data)

    async def read_record(self, record_id: str) -> bytes | None:
        return await self.records.read_record(record_id)

    async def delete_record(self, record_id: str) -> None:
        await self.records.delete_objects([record_id])


class Drawing:
    """Takes `seconds`, and counts how often it was begun."""

    def __init__(self, seconds: float = 0, error: Exception | None = None) -> None:
        self.begun = 0
        self._seconds = seconds
        self._error = error

    async def __call__(self) -> BaseModel:
        self.begun += 1
        await asyncio.sleep(self._seconds)
        if self._error is not None:
            raise self._error
        return Answer(number=self.begun)


async def once(
    replica: Idempotency, drawing: Callable[[], Awaitable[BaseModel]], key: RequestKey = KEY, within_s: float = 20
) -> Kept:
    return await replica.once(key, drawing, time.time() + within_s)


@pytest.fixture
def store() -> DirectStore:
    return DirectStore()


def replica(store: Store, ttl_s: float = 3600) -> Idempotency:
    return Idempotency(store, ttl_s, PACE)


def test_of_many_replicas_one_draws_however_long_it_takes(store: DirectStore) -> None:
    drawing = Drawing(seconds=1.5 * PACE.lease_s)

    async def run() -> list[Kept]:
        return await asyncio.gather(*(once(replica(store), drawing) for _ in range(8)))

    answers = asyncio.run(run())
    assert {answer.body for answer in answers} == {'{"number":1}'}
    assert [answer.is_repeat for answer in answers].count(False) == 1


def test_a_lost_replica_is_replaced_by_one_and_later_repeats_are_answered_at_once(store: DirectStore) -> None:
    drawing = Drawing()

    async def run() -> tuple[list[Kept], Kept]:
        lost = f"{KEY.id}.0.record"
        await store.create_record(lost, b'{"fingerprint": "one", "beat": 3}')
        answers = await asyncio.gather(*(once(replica(store), drawing) for _ in range(4)))
        return answers, await once(replica(store), drawing, within_s=PACE.lease_s / 2)

    answers, later = asyncio.run(run())
    assert drawing.begun == 1
    assert {answer.body for answer in (*answers, later)} == {'{"number":1}'}


@pytest.mark.parametrize("broken", [b"", b'{"fingerprint": "one", "bea', b"\xff", b"[]"])
def test_a_record_that_can_not_be_read_is_given_up(store: DirectStore, broken: bytes) -> None:
    async def run() -> tuple[Kept, Kept]:
        await store.create_record(f"{KEY.id}.0.record", broken)
        first = await once(replica(store), Drawing(), within_s=5)
        return first, await once(replica(store), Drawing(), within_s=5)

    first, later = asyncio.run(run())
    assert first == Kept('{"number":1}', is_repeat=False)
    assert later == Kept('{"number":1}', is_repeat=True)


def test_who_waits_for_what_fails_draws_it(store: DirectStore) -> None:
    failing, working = Drawing(0.1, RuntimeError("broken")), Drawing()

    async def run() -> tuple[object, Kept]:
        first = asyncio.ensure_future(once(replica(store), failing))
        await asyncio.sleep(0.05)
        second = await once(replica(store), working)
        return (await asyncio.gather(first, return_exceptions=True))[0], second

    error, answer = asyncio.run(run())
    assert isinstance(error, RuntimeError)
    assert not answer.is_repeat
    assert (failing.begun, working.begun) == (1, 1)


def test_work_goes_on_when_its_request_is_cancelled(store: DirectStore) -> None:
    drawing = Drawing(0.2)

    async def run() -> Kept:
        ours = replica(store)
        first = asyncio.ensure_future(once(ours, drawing))
        await asyncio.sleep(0.05)
        first.cancel()
        return await once(replica(store), drawing)

    assert asyncio.run(run()).is_repeat
    assert drawing.begun == 1


def test_an_answer_that_has_expired_is_drawn_again_and_then_repeated(store: DirectStore) -> None:
    drawing = Drawing()

    async def run() -> list[str]:
        short = replica(store, ttl_s=0.2)
        bodies = [(await once(short, drawing)).body]
        await asyncio.sleep(0.25)
        bodies += [(await once(short, drawing)).body for _ in range(2)]
        return bodies

    assert asyncio.run(run()) == ['{"number":1}', '{"number":2}', '{"number":2}']


def test_another_request_is_refused_while_the_first_runs_and_after_it(store: DirectStore) -> None:
    other = KEY._replace(fingerprint="two")

    async def run() -> None:
        first = asyncio.ensure_future(once(replica(store), Drawing(0.1)))
        await asyncio.sleep(0.05)
        for _ in range(2):
            with pytest.raises(KeyReused):
                await once(replica(store), Drawing(), other)
            await first

    asyncio.run(run())


def test_who_waits_too_long_is_told(store: DirectStore) -> None:
    async def run() -> None:
        first = asyncio.ensure_future(once(replica(store), Drawing(0.5)))
        await asyncio.sleep(0.05)
        with pytest.raises(DeadlineExceeded):
            await once(replica(store), Drawing(), within_s=0.1)
        await first

    asyncio.run(run())


def test_a_picture_is_answered_also_where_it_can_not_be_kept(store: DirectStore) -> None:
    store.broken = "write_record"
    assert asyncio.run(once(replica(store), Drawing())).body == '{"number":1}'
