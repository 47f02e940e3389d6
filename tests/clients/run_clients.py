"""Clients of other makers against the service with fake engines: `scripts/test-clients`.

Each has an environment of its own, so that its versions do not bind ours. The name keeps this file out of
`scripts/test`, which needs neither Node.js nor these clients.
"""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures import drawing, encoded

FOLDER = Path(__file__).parent


@pytest.mark.parametrize(
    "command",
    [
        ["node", "--test", "openai.mjs"],
        ["node", "--test", "ai_sdk.mjs"],
        [".venv/bin/python", "litellm_client.py"],
    ],
    ids=["openai (npm)", "@ai-sdk/openai-compatible (npm)", "litellm (PyPI)"],
)
def test_client(fake_url: str, command: list[str]) -> None:
    size = (128, 128)
    environment = {
        **os.environ,
        "BASE_URL": f"{fake_url}/v1",
        "PICTURE": as_base64(drawing(size=size)),
        "MASK": as_base64(Image.new("RGBA", size)),
    }
    done = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def as_base64(image: Image.Image) -> str:
    return base64.b64encode(encoded(image).getvalue()).decode()
