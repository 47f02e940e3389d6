"""Several checkpoints in one service."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import httpx
from PIL import Image
from ray import serve

from tests.conftest import Deploy, fake_config


def test_each_checkpoint_has_deployments_of_its_own_and_parameters_can_stay_out(deploy: Deploy, tmp_path: Path) -> None:
    first = fake_config(tmp_path).model_dump(mode="json")["models"][0]
    without_poses = first["checkpoint"] | {"controlnet": None, "pose_estimator": None}
    second = first | {"id": "second", "names": {"turbo": {}}, "checkpoint": without_poses}
    base_url = deploy("two", fake_config(tmp_path, models=[first, second], embed_parameters=False))
    assert set(serve.status().applications["two"].deployments) == {
        "Ingress",
        "Storage",
        *(f"{name}:fake" for name in ("TextToImage", "ImageEdit", "PoseControl")),
        *(f"{name}:second" for name in ("TextToImage", "ImageEdit")),
    }
    for model in ("dall-e-2", "turbo"):
        body = {"model": model, "prompt": "x", "response_format": "b64_json"}
        [image] = httpx.post(f"{base_url}/v1/images/generations", json=body).json()["data"]
        picture = Image.open(io.BytesIO(base64.b64decode(image["b64_json"])))
        assert picture.info == {}
    models = httpx.get(f"{base_url}/v1/models").json()["data"]
    assert {model["owned_by"] for model in models} == {"fake", "second"}
