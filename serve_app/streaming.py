"""Server-sent events as OpenAI writes them, with comments that keep an idle connection open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeAlias

from fastapi import Request
from fastapi.responses import StreamingResponse

from deployments.contracts import Progress
from serve_app.errors import TABLE, error_content, request_id_of
from serve_app.responses import CompletedImage, PartialImage

KEEP_ALIVE_S = 15
"""Gateways cut a connection on which nothing came for 60 s or so."""

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""No cache keeps the events, and no proxy gathers them before it passes them on."""

StreamEvent: TypeAlias = Progress | PartialImage | CompletedImage


async def event_stream(request: Request, events: AsyncGenerator[StreamEvent, None]) -> StreamingResponse:
    """The answer that streams `events`, each picture as an event and progress as a comment.

    The answer starts with the first event, or after `KEEP_ALIVE_S` without one. An error before that is raised, so
    that it has a status of its own; a later one is an `error` event.
    """
    beats = heartbeat(events, KEEP_ALIVE_S)
    first = await anext(beats)
    return StreamingResponse(_lines(request, first, beats), media_type="text/event-stream", headers=HEADERS)


async def heartbeat(
    events: AsyncGenerator[StreamEvent, None], interval_s: float
) -> AsyncGenerator[StreamEvent | None, None]:
    """The events, and None whenever none has come for `interval_s`."""
    pending = asyncio.ensure_future(anext(events))
    try:
        while True:
            done, _ = await asyncio.wait({pending}, timeout=interval_s)
            if not done:
                yield None
                continue
            try:
                event = pending.result()
            except StopAsyncIteration:
                return
            yield event
            pending = asyncio.ensure_future(anext(events))
    finally:
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
        await events.aclose()


async def _lines(
    request: Request, first: StreamEvent | None, beats: AsyncGenerator[StreamEvent | None, None]
) -> AsyncGenerator[str, None]:
    async with aclosing(beats):
        yield _text(first)
        try:
            async for event in beats:
                yield _text(event)
        except Exception as error:
            request.state.record.late_status = TABLE.row(error).status
            content = error_content(error, request_id_of(request))
            yield f"event: error\ndata: {json.dumps({'type': 'error', **content})}\n\n"


def _text(event: StreamEvent | None) -> str:
    # No empty line after a comment: some clients (openai-go before 3.43) take that for the end of an event.
    if event is None:
        return ": keep-alive\n"
    if isinstance(event, Progress):
        return f": step {event.step} of {event.steps}\n"
    return f"event: {event.type}\ndata: {event.model_dump_json(exclude_none=True)}\n\n"
