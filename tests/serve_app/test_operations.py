"""What an operator sees: health, one log line a request, metrics."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import ray
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from tests.conftest import fake_config
from tests.pictures import drawing, encoded
from tests.serve_app.unfinished import start_upload
from tests.waiting import eventually

SECRET_PROMPT = "a prompt that nobody else should read"


def log_entries(request_id: str) -> list[dict[str, Any]]:
    """The ingress's own lines about one request, once there is one."""
    folder = Path(ray._private.worker._global_node.get_logs_dir_path()) / "serve"
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        lines = [
            line
            for file in folder.glob("replica_fake_Ingress_*.log")
            for line in file.read_text().splitlines()
            if request_id in line and "{" in line
        ]
        if lines:
            return [json.loads(line[line.index("{") :]) for line in lines]
        time.sleep(0.1)
    raise AssertionError(f"no log line of request {request_id}")


def test_one_log_line_a_request_with_its_stages_and_without_its_prompt(http: httpx.Client) -> None:
    body = {"model": "dall-e-2", "prompt": SECRET_PROMPT, "size": "512x512", "n": 2}
    answer = http.post("/v1/images/generations", json=body)
    [entry] = log_entries(answer.headers["x-request-id"])
    assert entry["route"] == "/v1/images/generations"
    assert (entry["status"], entry["model"], entry["pictures"], entry["size"]) == (200, "dall-e-2", 2, "512x512")
    assert {"seconds", "denoise_s", "store_s"} <= entry.keys()
    folder = Path(ray._private.worker._global_node.get_logs_dir_path())
    for file in folder.rglob("*"):
        if file.is_file():
            assert SECRET_PROMPT.encode() not in file.read_bytes(), file


def test_metrics_count_requests_pictures_and_stages(http: httpx.Client) -> None:
    http.post("/v1/images/generations", json={"model": "dall-e-2", "prompt": "x", "n": 3})
    port = ray.nodes()[0]["MetricsExportPort"]
    deadline_s = time.monotonic() + 60
    wanted = {
        "ray_images_requests_total{",
        "ray_images_pictures_total{",
        "ray_images_stage_seconds_bucket{",
        "ray_images_engine_rows{",
        "ray_images_engine_waiting{",
    }
    while wanted and time.monotonic() < deadline_s:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        wanted = {name for name in wanted if f"\n{name}" not in text}
        time.sleep(0.5)
    assert not wanted


def test_a_client_that_leaves_in_mid_upload_is_no_error_of_the_server(http: httpx.Client) -> None:
    request_id = "leaves-in-mid-upload"
    with start_upload(http, f"Content-Length: 9000\r\nX-Request-Id: {request_id}", 0):
        time.sleep(0.5)
    assert [entry["status"] for entry in log_entries(request_id)] == [499]


def test_without_serves_controller_health_says_so_and_edits_go_on(http: httpx.Client) -> None:
    [controller] = [p for p in psutil.Process().children(recursive=True) if "ServeController" in p.name()]
    controller.suspend()
    try:
        with ThreadPoolExecutor(8) as pool:
            probes = [pool.submit(http.get, "/healthz") for _ in range(8)]
            edited = http.post("/v1/images/edits", data={"prompt": "x"}, files={"image": encoded(drawing())})
            assert edited.status_code == 200
            for probe in probes:
                assert probe.result().status_code == 503
                assert list(probe.result().json()["missing"]) == ["controller"]
    finally:
        controller.resume()
    eventually(lambda: http.get("/healthz").status_code == 200, within_s=30)


@pytest.mark.usefixtures("fake_url")
def test_health_says_what_is_missing(serve_url: str, tmp_path: Path) -> None:
    args = fake_config(tmp_path).model_dump(mode="json")
    args["models"][0]["checkpoint"]["path"] = "nobody/missing-xl"
    application = {
        "name": "broken",
        "route_prefix": "/broken",
        "import_path": "tests.fakes:build_fake_app",
        "args": args,
    }
    schema = ServeDeploySchema.model_validate({"applications": [application]})
    _get_global_client().deploy_apps(schema, _blocking=False)
    deadline_s = time.monotonic() + 60
    failed: set[str] = set()
    while len(failed) < 3:
        assert time.monotonic() < deadline_s
        time.sleep(0.3)
        try:
            answer = httpx.get(f"{serve_url}/broken/healthz")
        except httpx.TimeoutException:  # the proxy holds requests while there is no ingress yet
            continue
        if answer.headers["content-type"] == "application/json":
            assert answer.status_code == 503
            missing = answer.json()["missing"]
            failed = {name for name, reason in missing.items() if "could not be loaded" in reason}
    assert failed == {"TextToImage", "ImageEdit", "PoseControl"}
    assert "'fake'" in missing["TextToImage"]
    answer = httpx.post(f"{serve_url}/broken/v1/images/generations", json={"prompt": "x"}, timeout=30)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "unavailable"
    serve.delete("broken")
