"""A plain Ray Serve app as Ray's documentation shows it: `@serve.batch` around the diffusers pipeline.

python -m benchmarks.peers.serve_batch PORT CHECKPOINT
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.peers.pipeline import BATCH_WAIT_S, MAX_BATCH, StaticPipeline


@serve.deployment(max_ongoing_requests=64)
class Drawer:
    """Batches what comes within the waiting time."""

    def __init__(self, checkpoint: str) -> None:
        self._pipeline = StaticPipeline(checkpoint)

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=BATCH_WAIT_S)  # type: ignore[untyped-decorator]
    async def draw(self, orders: list[dict[str, Any]]) -> list[bytes]:
        return await asyncio.to_thread(self._pipeline.draw, orders)

    async def __call__(self, request: Request) -> Response:
        return Response(await self.draw(await request.json()), media_type="image/png")


if __name__ == "__main__":
    ray.init(include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Drawer.bind(sys.argv[2]), route_prefix="/draw")  # type: ignore[attr-defined]
    while True:
        time.sleep(60)
