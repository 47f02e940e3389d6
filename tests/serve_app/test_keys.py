"""API keys at the door of the real service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from serve_app.access import main as access_command
from serve_app.api import create_api
from serve_app.ingress import Ingress
from tests.conftest import Deploy, fake_config
from tests.openai_errors import assert_openai_error


def new_key(file: Path, name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """A key as the command prints it, with its line added to the file."""
    access_command(["new", name, "--file", str(file)])
    printed = capsys.readouterr().out
    return next(word for word in printed.split() if len(word) > 30 and word not in file.read_text())


def test_only_keys_of_the_file_open_the_service(
    deploy: Deploy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "keys"
    key = new_key(file, "anna", capsys)
    base_url = deploy("keyed", fake_config(tmp_path, access={"key_file": str(file)}))
    with openai.OpenAI(base_url=f"{base_url}/v1", api_key=key, max_retries=0) as client:
        url = (client.images.generate(model="dall-e-2", prompt="x").data or [])[0].url
        assert url is not None
    assert httpx.get(url).status_code == 200, "a picture's URL needs no key"

    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": key}, {"Authorization": "Bearer"}):
        for path in ("/v1/models", "/v1/models/dall-e-2"):
            answer = httpx.get(base_url + path, headers=headers)
            assert_openai_error(answer, 401, "invalid_api_key")
            assert key not in answer.text
        answer = httpx.post(f"{base_url}/v1/images/generations", json={"prompt": "x"}, headers=headers)
        assert_openai_error(answer, 401, "invalid_api_key")
    assert httpx.get(f"{base_url}/healthz").status_code == 200

    later = new_key(file, "ben", capsys)
    assert httpx.get(f"{base_url}/v1/models", headers={"Authorization": f"Bearer {later}"}).status_code == 200


def test_without_keys_only_this_machine_is_served(tmp_path: Path) -> None:
    handles: dict[str, Any] = {"pipelines": {}, "storage": None, "deployment_models": {}}
    ingress = Ingress(fake_config(tmp_path), [SecretStr("k" * 32)], **handles)
    api = create_api(ingress)
    here = TestClient(api, "http://localhost:8000", client=("127.0.0.1", 1))
    assert here.get("/v1/models").status_code == 200
    assert here.get("/v1/models", headers={"Origin": "http://127.0.0.1:8000"}).status_code == 200
    elsewhere = TestClient(api, "http://localhost:8000", client=("192.0.2.9", 1))
    for answer in (
        elsewhere.get("/v1/models"),
        here.get("/v1/models", headers={"Host": "rebound.example"}),
        here.get("/v1/models", headers={"Origin": "https://page.example"}),
        here.get("/v1/models", headers={"Origin": "http://["}),
        here.get("/v1/models", headers={"Forwarded": "for=192.0.2.9"}),
        here.get("/v1/models", headers={"Via": "1.1 proxy"}),
        here.get("/v1/models", headers={"X-Real-IP": "192.0.2.9"}),
        here.get("/v1/models", headers={"X-Forwarded-For": "127.0.0.1"}),
        here.get("/v1/models", headers={"X-Forwarded-Proto": "https"}),
    ):
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "api_key_required"
