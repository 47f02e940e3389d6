"""`Idempotency-Key`: the same request under the same key is drawn once, and answered as often as it comes.

All ingress replicas meet in the store. Who creates the record of a key draws, and writes it again and again while it
does; the others look at it until the answer is in it. A record that no longer changes belongs to a replica that is
lost, and the first to create the record's next number draws in its place.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

from fastapi import Request
from pydantic import BaseModel, ValidationError

from deployments.errors import DeadlineExceeded, ServiceError
from serve_app.bodies import Form
from serve_app.errors import InvalidRequest, KeyReused
from serve_app.store import Store

logger = logging.getLogger("ray.serve")

HEADER = "Idempotency-Key"
MAX_KEY_CHARS = 255


class Pace(NamedTuple):
    """How fast replicas notice each other."""

    beat_s: float = 2.0
    """How often a record is written while its request is drawn."""
    lease_s: float = 10.0
    """A record that has not changed for this long belongs to a replica that is lost."""
    poll_s: float = 0.4
    """How often a record is read while another replica draws."""


PACE = Pace()


class RequestKey(NamedTuple):
    """What makes two requests the same."""

    id: str
    """The key and who sent it, hashed."""
    fingerprint: str
    """The request's route, fields and files, hashed."""


class Kept(NamedTuple):
    """An answer in JSON."""

    body: str
    is_repeat: bool


class Record(BaseModel):
    """What the store knows about a key."""

    fingerprint: str
    beat: int = 0
    """Counts up while the request is drawn."""
    body: str | None = None
    """The answer in JSON, when it is there."""
    finished_unix_s: float = 0


def request_key(request: Request, form: Form) -> RequestKey | None:
    """What the request's `Idempotency-Key` stands for; None where it has none.

    Raises:
        InvalidRequest: the key is too long, or the request streams.
    """
    key = request.headers.get(HEADER)
    if not key:
        return None
    if len(key) > MAX_KEY_CHARS:
        raise InvalidRequest(f"'{HEADER}' has {len(key)} characters; at most {MAX_KEY_CHARS} are allowed.", HEADER)
    if form.fields.get("stream"):
        raise InvalidRequest(f"'{HEADER}' can't be had together with 'stream'.", HEADER)
    files = {name: [hashlib.sha256(file).hexdigest() for file in files] for name, files in form.files.items()}
    return RequestKey(
        id=_hash([request.state.record.key_name, key]),
        fingerprint=_hash([request.url.path, form.fields, files]),
    )


class Idempotency:
    """The requests that came with a key."""

    def __init__(self, store: Store, ttl_s: float, pace: Pace = PACE) -> None:
        """`ttl_s`: how long an answer is given again, from when it was first."""
        self._store = store
        self._ttl_s = ttl_s
        self._pace = pace
        self._running: set[asyncio.Task[str]] = set()

    async def once(self, key: RequestKey, answer: Callable[[], Awaitable[BaseModel]], deadline_unix_s: float) -> Kept:
        """Answers with what `answer` gives, or gave before. It goes on to its end when this call is cancelled.

        Raises:
            KeyReused: the key came before, with another request.
            StoreUnavailable: the record can't be written or read.
            DeadlineExceeded: another replica does not answer in time.
        """
        number, beat, changed_s = 0, -1, time.monotonic()
        while time.time() < deadline_unix_s:
            found = await self._create_or_read(key, number)
            if found is None:
                return Kept(await self._draw(key, number, answer), is_repeat=False)
            is_expired = found.body is not None and time.time() >= found.finished_unix_s + self._ttl_s
            if found.beat != beat:
                beat, changed_s = found.beat, time.monotonic()
            if is_expired or (found.body is None and time.monotonic() - changed_s > self._pace.lease_s):
                number, beat, changed_s = number + 1, -1, time.monotonic()
            elif found.fingerprint != key.fingerprint:
                raise KeyReused(f"This '{HEADER}' was used before, for another request.", HEADER)
            elif found.body is not None:
                return Kept(found.body, is_repeat=True)
            else:
                await asyncio.sleep(self._pace.poll_s)
        raise DeadlineExceeded("The first request with this key was not done in time.")

    async def _create_or_read(self, key: RequestKey, number: int) -> Record | None:
        """The record under this number; None where there was none, and it is ours now."""
        ours = Record(fingerprint=key.fingerprint)
        while True:
            data = await self._store.read_record(_record_id(key, number))
            if data is not None:
                return _parsed(data)
            if await self._store.create_record(_record_id(key, number), _bytes(ours)):
                return None

    async def _draw(self, key: RequestKey, number: int, answer: Callable[[], Awaitable[BaseModel]]) -> str:
        # Not in this request's context, by which Serve would cancel its calls together with the request.
        task = asyncio.create_task(self._draw_and_keep(key, number, answer), context=contextvars.Context())
        self._running.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    def _ended(self, task: asyncio.Task[str]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # the request that began it may be gone: nobody else asks for it

    async def _draw_and_keep(self, key: RequestKey, number: int, answer: Callable[[], Awaitable[BaseModel]]) -> str:
        done = asyncio.Event()
        beating = asyncio.create_task(self._beat(key, number, done))
        try:
            body = (await answer()).model_dump_json(exclude_none=True)
        except BaseException:
            done.set()
            await beating
            with suppress(ServiceError):
                await self._store.delete_record(_record_id(key, number))
            raise
        done.set()
        await beating
        record = Record(fingerprint=key.fingerprint, body=body, finished_unix_s=time.time())
        for lower in range(number, -1, -1):  # those before are given up or expired, and are found first
            await self._write(key, lower, record)
        return body

    async def _beat(self, key: RequestKey, number: int, done: asyncio.Event) -> None:
        beat = 0
        while True:
            try:
                await asyncio.wait_for(done.wait(), self._pace.beat_s)
                return
            except TimeoutError:
                beat += 1
            await self._write(key, number, Record(fingerprint=key.fingerprint, beat=beat))

    async def _write(self, key: RequestKey, number: int, record: Record) -> None:
        try:
            await self._store.write_record(_record_id(key, number), _bytes(record))
        except ServiceError as error:  # a picture that is drawn is worth more than its repetition
            logger.warning("an idempotency record could not be written: %s", error)


def _record_id(key: RequestKey, number: int) -> str:
    return f"{key.id}.{number}.record"


def _parsed(data: bytes) -> Record:
    """The record; one that can't be read, which no replica writes again, as one whose answer has expired."""
    try:
        return Record.model_validate_json(data)
    except ValidationError:
        return Record(fingerprint="", body="", finished_unix_s=0)


def _bytes(record: Record) -> bytes:
    return record.model_dump_json(exclude_none=True).encode()


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
