"""The files for GPUs with their checkpoints replaced by small folders, run with the real engine on logical GPUs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml
from PIL import Image
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from serve_app.access import main as access_command
from tests.checkpoints import build_checkpoint
from tests.test_files import ROOT

GRAPHS = {
    "serve_config.yaml": {"Ingress", "Storage", "TextToImage", "ImageEdit", "PoseControl"},
    "one_gpu.yaml": {"Ingress", "Storage", "AllTasks"},
}


@pytest.fixture(scope="module", params=GRAPHS)
def production(
    request: pytest.FixtureRequest, serve_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path, set[str]]]:
    """The base URL, the file of API keys and the names of the deployments."""
    folder = tmp_path_factory.mktemp("production")
    build_checkpoint(folder)
    key_file = folder / "api_keys"
    access_command(["new", "test", "--file", str(key_file)])
    content: dict[str, Any] = yaml.safe_load((ROOT / request.param).read_text())
    [application] = content["applications"]
    application |= {"name": "production", "route_prefix": "/production"}
    [model] = application["args"]["models"]
    model["checkpoint"] |= {
        "path": str(folder / "model"),
        "variant": None,
        "dtype": "float32",
        "vae": str(folder / "model" / "vae"),
        "controlnet": str(folder / "controlnet"),
        "pose_estimator": str(ROOT / "deployments" / "demo" / "pose"),
    }
    model["sizes"] = dict.fromkeys(model["sizes"], "128x128") | {"128x128": "128x128"}
    assert model["engine"]["compile"] is True
    # Three replicas would compile on these cores at once; test_compilation.py and the GPU benchmark's service compile.
    model["engine"] |= {"compile": False, "warm_up_sizes": [[32, 32]]}
    application["args"]["access"]["key_file"] = str(key_file)
    application["args"]["storage"]["location"] = str(folder / "pictures")
    schema = ServeDeploySchema.model_validate({"applications": [application]})
    _get_global_client().deploy_apps(schema, _blocking=True)
    yield f"{serve_url}/production", key_file, GRAPHS[request.param]
    serve.delete("production")


def test_the_file_draws(production: tuple[str, Path, set[str]], capsys: pytest.CaptureFixture[str]) -> None:
    base_url, key_file, graph = production
    access_command(["new", "client", "--file", str(key_file)])
    key = next(word for word in capsys.readouterr().out.split() if len(word) > 30 and word not in key_file.read_text())
    with openai.OpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0, timeout=120) as client:
        answer = client.images.generate(
            model="be-stable-diffusion-xl-base-1.0", prompt="a red cat", n=1, size="256x256", extra_body={"steps": 2}
        )
        [first] = answer.data or []
        picture = httpx.get(first.url or "").content
        assert Image.open(io.BytesIO(picture)).size == (256, 256)
        answer = client.images.edit(image=("x.png", picture), prompt="a blue dog", extra_body={"steps": 2})
        assert answer.data
        with (ROOT / "docs" / "person.png").open("rb") as person:
            answer = client.images.edit(image=person, prompt="a cat", user="cn", extra_body={"steps": 2})
        assert answer.data
        assert "url_pose" in answer.data[0].to_dict()
    assert set(serve.status().applications["production"].deployments) == graph
