"""Masks, variations and JSON edits through the OpenAI SDK, with fake engines."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from PIL import Image, ImageDraw

from tests.openai_errors import assert_openai_error
from tests.pictures import data_url, drawing, encoded, opened, parameters

EDITS = "/v1/images/edits"
VARIATIONS = "/v1/images/variations"


def mask(size: tuple[int, int] = (256, 256)) -> Image.Image:
    """Opens the left half."""
    image = Image.new("RGBA", size, (0, 0, 0, 255))
    ImageDraw.Draw(image).rectangle((0, 0, size[0] // 2 - 1, size[1]), fill=(0, 0, 0, 0))
    return image


@pytest.mark.parametrize("side_px", [256, pytest.param(1024, id="1024 drawn at 512")])
def test_what_is_transparent_in_the_mask_is_drawn_anew(fake: openai.OpenAI, side_px: int) -> None:
    before, opening, half_px = drawing(size=(side_px, side_px)), mask((side_px, side_px)), side_px // 2
    size: Any = f"{side_px}x{side_px}"
    answer = fake.images.edit(
        image=encoded(before), mask=encoded(opening), prompt="x", size=size, extra_body={"seed": 1}
    )
    after = opened(answer)
    kept = (half_px, 0, side_px, side_px)
    assert after.crop(kept).tobytes() == before.crop(kept).tobytes()
    anew = after.crop((0, 0, half_px, side_px)).getcolors()
    assert anew is not None
    assert len(anew) == 1
    assert anew[0][1] not in ((255, 255, 255), (255, 0, 0))
    assert parameters(after)["strength"] == "1.0"


def test_a_mask_of_another_size_is_refused(http: httpx.Client) -> None:
    files = {"image": encoded(drawing(size=(256, 256))), "mask": encoded(mask((128, 128)))}
    answer = http.post(EDITS, data={"prompt": "x"}, files=files)
    message = assert_openai_error(answer, 400, "invalid_image", "mask")
    assert "256x256" in message
    assert "128x128" in message


@pytest.mark.parametrize(
    ("files", "param"),
    [
        ([("image", encoded(drawing())), ("mask", encoded(drawing()))], "mask"),  # nothing in it is transparent
        ([("image", encoded(drawing())), ("mask", b"no picture")], "mask"),
        ([("mask", encoded(mask()))], "image"),
        ([("image", encoded(drawing()))] + [("mask", encoded(mask((120, 80))))] * 2, "mask"),
        ([("image", encoded(drawing())), ("markup", encoded(drawing("RGBA")))], "markup"),
        ([("image", encoded(drawing())), ("other", encoded(drawing()))], "other"),
        ([("image[]", encoded(drawing())), ("image[]", encoded(drawing()))], "image"),
    ],
)
def test_files_that_make_no_sense_are_refused_by_name(http: httpx.Client, files: Any, param: str) -> None:
    assert_openai_error(http.post(EDITS, data={"prompt": "x"}, files=files), 400, param=param)


@pytest.mark.parametrize("pose", [{"user": "cn"}, {"model": "fake-pose"}])
def test_a_pose_takes_no_mask(http: httpx.Client, pose: dict[str, str]) -> None:
    files = {"image": encoded(drawing(size=(256, 256))), "mask": encoded(mask())}
    assert_openai_error(http.post(EDITS, data={"prompt": "x", **pose}, files=files), 400, "invalid_value", "mask")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # OpenAI retired its own endpoint
def test_variations_need_no_prompt(fake: openai.OpenAI) -> None:
    answer = fake.images.create_variation(image=encoded(drawing()), model="dall-e-2", n=2, size="512x512")
    assert answer.data
    assert len(answer.data) == 2
    assert opened(answer, 1).size == (512, 512)
    drawn_with = parameters(opened(answer))
    assert drawn_with["prompt"] == ""
    assert drawn_with["strength"] == "0.7"


def test_variations_take_the_extensions_and_no_prompt(http: httpx.Client) -> None:
    fields = {"seed": "4", "strength": "0.3", "output_format": "webp", "response_format": "b64_json"}
    answer = http.post(VARIATIONS, data=fields, files={"image": encoded(drawing())})
    assert answer.json()["data"][0]["seed"] == 4
    assert answer.json()["output_format"] == "webp"
    answer = http.post(VARIATIONS, data={"prompt": "x"}, files={"image": encoded(drawing())})
    assert_openai_error(answer, 400, "invalid_value", "prompt")
    assert_openai_error(http.post(VARIATIONS, data={"n": "1"}), 415)
    assert_openai_error(http.post(VARIATIONS, files={"mask": encoded(mask())}), 400, param="mask")


def test_a_json_edit_is_the_same_as_a_multipart_one(fake: openai.OpenAI, http: httpx.Client) -> None:
    before = drawing(size=(256, 256))
    form = fake.images.edit(image=encoded(before), mask=encoded(mask()), prompt="x", extra_body={"seed": 1})
    body = {
        "prompt": "x",
        "images": [{"image_url": data_url(before, "PNG")}],
        "mask": {"image_url": data_url(mask())},
        "seed": 1,
        "n": None,
    }
    answer = http.post(EDITS, json=body)
    assert answer.status_code == 200, answer.text
    assert httpx.get(answer.json()["data"][0]["url"]).content == httpx.get(form.data[0].url or "").content  # type: ignore[index]


def test_a_json_edit_takes_a_picture_of_this_server_by_its_url(fake: openai.OpenAI, http: httpx.Client) -> None:
    made = fake.images.generate(prompt="x", extra_body={"seed": 5})
    assert made.data
    body = {
        "prompt": "y",
        "images": [{"image_url": made.data[0].url}],
        "mask": {"image_url": data_url(mask())},
        "response_format": "b64_json",
    }
    answer = openai.types.ImagesResponse.construct(**http.post(EDITS, json=body).json())
    assert opened(answer).getpixel((200, 100)) == opened(made).getpixel((200, 100))


@pytest.mark.parametrize(
    ("images", "param"),
    [
        ([], "image"),
        ("data:image/png;base64,AAAA", "images"),
        (["data:image/png;base64,AAAA"], "images[0]"),
        ([{"image_url": 7}], "images[0].image_url"),
        ([{"file_id": "file-1"}], "images[0]"),
        ([{"image_url": "http://pictures.example/x.png"}], "images[0].image_url"),
        ([{"image_url": "http://[broken"}], "images[0].image_url"),
        ([{"image_url": "file:///etc/passwd"}], "images[0].image_url"),
        ([{"image_url": "https://x.test/images/0.png?" + "a=1&" * 600}], "images[0].image_url"),
        ([{"image_url": "https://x.test/images/0.png?expires=99999999999&signature=x"}], "images[0].image_url"),
        ([{"image_url": "data:image/png;base64,!!"}], "images[0].image_url"),
        ([{"image_url": data_url(drawing())}] * 2, "images"),
    ],
)
def test_json_edits_that_can_not_be_read_are_refused_by_name(http: httpx.Client, images: Any, param: str) -> None:
    answer = http.post(EDITS, json={"prompt": "x", "images": images})
    assert_openai_error(answer, 400, "invalid_value", param)


def test_nothing_is_fetched_from_the_network(http: httpx.Client) -> None:
    answer = http.post(EDITS, json={"prompt": "x", "images": [{"image_url": "http://pictures.example/x.png"}]})
    assert "fetches nothing from the network" in assert_openai_error(answer, 400)
