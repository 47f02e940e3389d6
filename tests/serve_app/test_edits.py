"""POST /v1/images/edits through the OpenAI SDK, with fake engines."""

from __future__ import annotations

import io
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from tests.openai_errors import assert_openai_error
from tests.pictures import drawing, encoded


def test_the_references_example(fake: openai.OpenAI) -> None:
    otter = encoded(drawing())
    answer = fake.images.edit(
        model="be-fake", image=otter, prompt="A cute baby sea otter wearing a beret", n=2, size="1024x1024"
    )
    assert answer.data is not None
    assert [image.to_dict()["seed"] for image in answer.data] == [2]
    opened = Image.open(io.BytesIO(httpx.get(answer.data[0].url or "").content))
    assert opened.size == (1024, 1024)


def test_image_may_come_as_a_list_of_one(fake: openai.OpenAI) -> None:
    assert fake.images.edit(image=[encoded(drawing())], prompt="x").data


@pytest.mark.parametrize(
    ("mode", "format_", "options"),
    [
        ("RGB", "JPEG", {}),
        ("RGB", "WEBP", {}),
        ("CMYK", "JPEG", {}),
        ("P", "PNG", {}),
        ("L", "PNG", {}),
        ("LA", "PNG", {}),
        ("I;16", "PNG", {}),
        ("RGBA", "PNG", {}),
        ("RGB", "WEBP", {"save_all": True, "append_images": [Image.new("RGB", (120, 80))]}),
    ],
)
def test_pictures_of_every_kind_are_read(fake: openai.OpenAI, mode: str, format_: str, options: dict[str, Any]) -> None:
    image = drawing("L").convert("I").convert("I;16") if mode == "I;16" else drawing(mode)
    assert fake.images.edit(image=encoded(image, format_, **options), prompt="x").data


def test_the_type_of_a_part_does_not_matter(http: httpx.Client) -> None:
    for media_type in ("image/png", "application/octet-stream", "text/plain"):
        files = {"image": ("C:\\pictures\\x.bmp", encoded(drawing(), "JPEG").getvalue(), media_type)}
        assert http.post("/v1/images/edits", data={"prompt": "x"}, files=files).status_code == 200


def test_user_cn_takes_the_pose_and_shows_the_skeleton(fake: openai.OpenAI) -> None:
    answer = fake.images.edit(model="dall-e-2", image=encoded(drawing()), prompt="x", user="cn")
    assert answer.data is not None
    image = answer.data[0].to_dict()
    assert image["url"] != image["url_pose"]
    skeleton = Image.open(io.BytesIO(httpx.get(str(image["url_pose"])).content))
    assert skeleton.getbbox() is not None
    answer = fake.images.edit(
        model="dall-e-2", image=encoded(drawing()), prompt="x", user="cn", response_format="b64_json"
    )
    assert answer.data is not None
    assert {"b64_json", "b64_json_pose", "seed"} == answer.data[0].to_dict().keys()


def test_a_name_for_poses_needs_no_user(fake: openai.OpenAI) -> None:
    answer = fake.images.edit(model="fake-pose", image=encoded(drawing()), prompt="x")
    assert answer.data is not None
    assert "url_pose" in answer.data[0].to_dict()


def test_any_other_user_is_an_opaque_label(fake: openai.OpenAI) -> None:
    answer = fake.images.edit(model="dall-e-2", image=encoded(drawing()), prompt="x", user="cn2")
    assert answer.data is not None
    assert "url_pose" not in answer.data[0].to_dict()


def test_a_picture_without_a_person_is_refused(http: httpx.Client) -> None:
    files = {"image": encoded(Image.new("RGB", (64, 64), "blue")).getvalue()}
    answer = http.post("/v1/images/edits", data={"prompt": "x", "user": "cn"}, files=files)
    assert_openai_error(answer, 400, "no_pose_found", "image")
