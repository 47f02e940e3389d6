"""LitServe around the diffusers pipeline. It is no dependency of this project: install `litserve` beside it.

python -m benchmarks.peers.lit_serve PORT CHECKPOINT
"""

from __future__ import annotations

import sys
from typing import Any

import litserve  # type: ignore[import-not-found]
from fastapi import Response

from benchmarks.peers.pipeline import BATCH_WAIT_S, MAX_BATCH, StaticPipeline


class Drawer(litserve.LitAPI):
    """LitServe's four verbs."""

    def __init__(self, checkpoint: str, **options: Any) -> None:
        super().__init__(**options)
        self._checkpoint = checkpoint

    def setup(self, device: str) -> None:
        self._pipeline = StaticPipeline(self._checkpoint)

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # LitServe reads an annotation as a schema
        return request

    def batch(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return inputs

    def predict(self, x: list[dict[str, Any]]) -> list[bytes]:
        return self._pipeline.draw(x)

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        return output

    def encode_response(self, output: bytes) -> Response:
        return Response(output, media_type="image/png")


if __name__ == "__main__":
    api = Drawer(sys.argv[2], max_batch_size=MAX_BATCH, batch_timeout=BATCH_WAIT_S, api_path="/draw")
    server = litserve.LitServer(api, accelerator="cpu", timeout=600)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
