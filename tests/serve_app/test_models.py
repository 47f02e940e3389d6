"""Several checkpoints in one service."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import httpx
from PIL import Image
from ray import serve

from tests.conftest import Deploy, fake_config
from tests.openai_errors import assert_openai_error
from tests.pictures import drawing, encoded


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


def test_checkpoints_that_share_an_engine_have_one_deployment_each(deploy: Deploy, tmp_path: Path) -> None:
    first = fake_config(tmp_path).model_dump(mode="json")["models"][0] | {"share_engine": True}
    without_poses = first["checkpoint"] | {"controlnet": None, "pose_estimator": None}
    names = {"turbo": {"response_format": "b64_json"}}
    second = first | {"id": "second", "names": names, "checkpoint": without_poses}
    base_url = deploy("shared", fake_config(tmp_path, models=[first, second]))
    assert set(serve.status().applications["shared"].deployments) == {
        "Ingress",
        "Storage",
        "AllTasks:fake",
        "AllTasks:second",
    }
    picture = encoded(drawing()).getvalue()

    def edit(model: str, **fields: str) -> httpx.Response:
        data = {"model": model, "prompt": "x", **fields}
        return httpx.post(f"{base_url}/v1/images/edits", data=data, files={"image": picture})

    for model in ("gpt-image-1", "turbo"):
        drawn = httpx.post(f"{base_url}/v1/images/generations", json={"model": model, "prompt": "x"})
        for answer in (drawn, edit(model)):
            assert list(answer.json()["data"][0]) == ["b64_json", "seed"]
    assert "b64_json_pose" in edit("gpt-image-1", user="cn").json()["data"][0]
    assert_openai_error(edit("turbo", user="cn"), 400, param="user")
