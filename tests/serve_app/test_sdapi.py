"""AUTOMATIC1111's routes, as SillyTavern and Open WebUI speak them, with fake engines."""

from __future__ import annotations

import base64
import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from serve_app.access import main as make_key
from tests.conftest import Deploy, fake_config
from tests.openai_errors import assert_openai_error
from tests.pictures import data_url, drawing, encoded, parameters
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]

SILLY_TAVERN: dict[str, Any] = {
    "url": "http://images.example/",
    "auth": "user:password",
    "prompt": "x",
    "negative_prompt": "y",
    "sampler_name": "Euler a",
    "scheduler": "automatic",
    "steps": 7,
    "cfg_scale": 5.5,
    "width": 512,
    "height": 512,
    "restore_faces": False,
    "enable_hr": False,
    "hr_upscaler": "None",
    "hr_scale": 1,
    "denoising_strength": 0.7,
    "hr_second_pass_steps": 0,
    "seed": -1,
    "override_settings": {"CLIP_stop_at_last_layers": 1, "forge_additional_modules": []},
    "override_settings_restore_afterwards": True,
    "clip_skip": 1,
    "save_images": True,
    "send_images": True,
    "do_not_save_grid": False,
}
"""What its `auto` source sends."""


def picture(answer: httpx.Response, index: int = 0) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][index])))


def test_sillytavern_draws(http: httpx.Client) -> None:
    answer = http.post("/sdapi/v1/txt2img", json=SILLY_TAVERN)
    drawn_with = parameters(picture(answer))
    assert drawn_with["steps"] == "7"
    assert drawn_with["guidance_scale"] == "5.5"
    assert drawn_with["scheduler"] == "euler_a"
    assert drawn_with["negative_prompt"] == "y"
    assert picture(answer).size == (512, 512)
    assert answer.json()["format"] == "png"


def test_open_webui_draws_a_batch_and_reads_the_info(http: httpx.Client) -> None:
    body = {"prompt": "x", "batch_size": 2, "width": 250, "height": 260, "seed": 5, "steps": None}
    answer = http.post("/sdapi/v1/txt2img", json=body)
    assert [picture(answer, k).size for k in range(2)] == [(256, 256)] * 2
    assert json.loads(answer.json()["info"])["all_seeds"] == [5, 6]
    assert answer.json()["parameters"]["width"] == 256


def test_the_blockentropy_source_draws(http: httpx.Client) -> None:
    """The reference's own SillyTavern source: its model list has `name`, and its body the model."""
    names = [model["name"] for model in http.get("/sdapi/v1/sd-models").json()]
    assert names[0] == "be-fake"
    body = {
        "prompt": "x",
        "negative_prompt": "",
        "model": "be-fake",
        "steps": 20,
        "width": 512,
        "height": 512,
        "seed": 12345,
    }
    answer = http.post("/sdapi/v1/txt2img", json=body)
    assert parameters(picture(answer))["model"] == "be-fake"
    assert parameters(picture(answer))["seed"] == "12345"


def test_numbers_may_be_text_as_with_automatic1111(http: httpx.Client) -> None:
    body = {"prompt": "x", "seed": "77", "width": 256.0, "height": "256", "steps": "3", "cfg_scale": "2.5"}
    drawn_with = parameters(picture(http.post("/sdapi/v1/txt2img", json=body)))
    assert (drawn_with["seed"], drawn_with["steps"], drawn_with["guidance_scale"]) == ("77", "3", "2.5")


def test_a_seed_of_minus_one_is_another_each_time(http: httpx.Client) -> None:
    def seed() -> int:
        answer = http.post("/sdapi/v1/txt2img", json={"prompt": "x", "seed": -1})
        return int(answer.json()["parameters"]["seed"])

    assert seed() != seed()


@pytest.mark.parametrize("inline", ["base64", "data URL"])
def test_img2img_draws_over_a_picture(http: httpx.Client, inline: str) -> None:
    image = drawing()
    text = data_url(image) if inline == "data URL" else base64.b64encode(encoded(image).getvalue()).decode()
    body = {"prompt": "x", "init_images": [text], "denoising_strength": 0.3}
    assert parameters(picture(http.post("/sdapi/v1/img2img", json=body)))["strength"] == "0.3"


@pytest.mark.parametrize(
    ("route", "body", "param"),
    [
        ("txt2img", {}, "prompt"),
        ("txt2img", {"prompt": " "}, "prompt"),
        ("txt2img", {"prompt": "x", "width": 2048, "height": 512}, "width"),
        ("txt2img", {"prompt": "x", "width": 4096, "height": 4096}, "width"),
        ("txt2img", {"prompt": "x", "width": "wide"}, "width"),
        ("txt2img", {"prompt": "x", "steps": 151}, "steps"),
        ("txt2img", {"prompt": "x", "cfg_scale": -1}, "cfg_scale"),
        ("txt2img", {"prompt": "x", "sampler_name": "Eulerish"}, "sampler_name"),
        ("txt2img", {"prompt": "x", "sampler_name": "DDIM", "scheduler": "karras"}, "scheduler"),
        ("txt2img", {"prompt": "x", "scheduler": "karrass"}, "scheduler"),
        ("txt2img", {"prompt": "x", "batch_size": 4, "n_iter": 3}, "batch_size"),
        ("txt2img", {"prompt": "x", "enable_hr": True}, "enable_hr"),
        ("img2img", {"prompt": "x"}, "init_images"),
        ("img2img", {"prompt": "x", "init_images": ["!"]}, "init_images"),
        ("img2img", {"prompt": "x", "init_images": ["AAAA"], "mask": "AAAA"}, "mask"),
    ],
)
def test_what_can_not_be_had_is_refused_by_name(
    http: httpx.Client, route: str, body: dict[str, Any], param: str
) -> None:
    assert_openai_error(http.post(f"/sdapi/v1/{route}", json=body), 400, "invalid_value", param)


def test_lists_have_the_keys_that_clients_read(http: httpx.Client) -> None:
    def listed(name: str) -> list[dict[str, Any]]:
        answer = http.get(f"/sdapi/v1/{name}")
        assert answer.status_code == 200
        found: list[dict[str, Any]] = answer.json()
        return found

    assert {"title", "name", "model_name"} <= set(listed("sd-models")[0])
    assert "Euler a" in [sampler["name"] for sampler in listed("samplers")]
    assert "karras" in [scheduler["name"] for scheduler in listed("schedulers")]
    assert [upscaler["name"] for upscaler in listed("upscalers")] == ["None"]
    for empty in ("latent-upscale-modes", "sd-vae", "sd-modules"):
        assert listed(empty) == []


def test_img2img_with_a_pose_model_takes_the_pose(http: httpx.Client) -> None:
    image = base64.b64encode(encoded(drawing()).getvalue()).decode()
    body = {"prompt": "x", "init_images": [image], "denoising_strength": 0.3, "model": "fake-pose"}
    drawn_with = parameters(picture(http.post("/sdapi/v1/img2img", json=body)))
    assert drawn_with["model"] == "fake-pose"
    assert "controlnet_scale" in drawn_with
    assert "strength" not in drawn_with


def test_options_choose_the_model(http: httpx.Client) -> None:
    def chosen() -> str:
        return str(http.get("/sdapi/v1/options").json()["sd_model_checkpoint"])

    assert chosen() == "be-fake"
    other = {"sd_model_checkpoint": "dall-e-2", "samples_format": "png"}
    assert http.post("/sdapi/v1/options", json=other).status_code == 200
    assert chosen() == "dall-e-2"
    drawn = http.post("/sdapi/v1/txt2img", json={"prompt": "x"})
    assert parameters(picture(drawn))["model"] == "dall-e-2"
    overridden = {"prompt": "x", "override_settings": {"sd_model_checkpoint": "be-fake"}}
    assert parameters(picture(http.post("/sdapi/v1/txt2img", json=overridden)))["model"] == "be-fake"
    assert_openai_error(http.post("/sdapi/v1/options", json={"sd_model_checkpoint": "no"}), 404, "model_not_found")
    assert http.post("/sdapi/v1/options", json={"sd_model_checkpoint": "be-fake"}).status_code == 200


def test_progress_and_interrupt_are_about_what_is_being_drawn(http: httpx.Client, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def jobs() -> int:
        return int(http.get("/sdapi/v1/progress").json()["state"]["job_count"])

    assert jobs() == 0
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(http.post, "/sdapi/v1/txt2img", json={"prompt": f"sleep-late=9 mark={mark}"})
        wait_for(mark, "started")
        while http.get("/sdapi/v1/progress").json()["progress"] < 1:
            time.sleep(0.05)
        assert jobs() == 1
        assert http.post("/sdapi/v1/interrupt").status_code == 200
        assert_openai_error(running.result(), 409, "interrupted")
    wait_for(mark, "cancelled")
    assert http.get("/sdapi/v1/progress").json()["progress"] == 0
    assert jobs() == 0


def test_keys_come_as_basic_or_bearer(deploy: Deploy, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "keys"
    make_key(["new", "silly", "--file", str(file)])
    key = capsys.readouterr().out.split("once): ")[1].split()[0]
    url = deploy("sdapi-keys", fake_config(tmp_path, access={"key_file": str(file)})) + "/sdapi/v1/"
    assert httpx.get(url + "options").status_code == 401
    assert httpx.get(url + "options", auth=("user", "wrong")).status_code == 401
    for user, password in (("user", key), (key, "")):
        assert httpx.post(url + "txt2img", json={"prompt": "x"}, auth=(user, password)).status_code == 200
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx.post(url + "txt2img", json={"prompt": "x"}, headers=headers).status_code == 200


def test_a_ping_of_the_image_route_needs_neither_key_nor_cors(http: httpx.Client) -> None:
    answer = http.options("/v1/images/generations")
    assert answer.is_success
    assert "POST" in answer.headers["allow"]
