"""demo.yaml as a person meets it: the real engine and the embedded model, and pictures that show what was asked for."""

from __future__ import annotations

import base64
import concurrent.futures
import io
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

from tests.openai_errors import assert_openai_error
from tests.pictures import encoded, opened
from training.pictures import (
    background,
    has_beret,
    is_otter,
    nearest_color,
    object_color,
    overlap,
    shape_of,
    silhouette,
)
from training.scenes import Scene, render, sample_scene

SCENES = [
    ("a red star on a blue background", "red", "star", "blue"),
    ("a yellow circle on a black background", "yellow", "circle", "black"),
    ("a green square on a white background", "green", "square", "white"),
    ("please draw one big purple triangle, orange background", "purple", "triangle", "orange"),
    ("white circle, red background", "white", "circle", "red"),
    ("a black square on a yellow background", "black", "square", "yellow"),
]


def draw(client: openai.OpenAI, prompt: str, **fields: Any) -> np.ndarray:
    """(height, width, 3) uint8."""
    fields = {"model": "dall-e-2", "size": "256x256", "response_format": "b64_json", **fields}
    return np.asarray(opened(client.images.generate(prompt=prompt, **fields)).convert("RGB"))


def seed(value: int) -> dict[str, Any]:
    return {"extra_body": {"seed": value}}


@pytest.mark.parametrize("size", ["256x256", "512x512", "1024x1024"])
def test_pictures_show_what_the_prompt_says(embedded: openai.OpenAI, size: str) -> None:
    right = {"shape": 0, "colours": 0}
    for prompt, colour, shape, ground in SCENES:
        picture = draw(embedded, prompt, size=size, **seed(1))
        assert f"{picture.shape[1]}x{picture.shape[0]}" == size
        right["shape"] += shape_of(picture) == shape
        right["colours"] += (nearest_color(object_color(picture)), nearest_color(background(picture))) == (
            colour,
            ground,
        )
    assert min(right.values()) >= 5, f"of {len(SCENES)}: {right}"


def test_the_references_first_example_shows_an_otter(embedded: openai.OpenAI) -> None:
    answer = embedded.images.generate(
        model="be-stable-diffusion-xl-base-1.0", prompt="A cute baby sea otter", n=1, size="1024x1024"
    )
    assert answer.data is not None
    picture = Image.open(io.BytesIO(httpx.get(answer.data[0].url or "").content)).convert("RGB")
    assert picture.size == (1024, 1024)
    assert is_otter(np.asarray(picture))


def test_the_references_second_example_puts_a_beret_on_the_otter(embedded: openai.OpenAI) -> None:
    """Changes what the edit says, and keeps the rest where it was."""
    otter = draw(embedded, "A cute baby sea otter", **seed(1))
    answer = embedded.images.edit(
        model="be-stable-diffusion-xl-base-1.0",
        image=encoded(Image.fromarray(otter)),
        prompt="A cute baby sea otter wearing a beret",
        n=2,
        size="256x256",
        response_format="b64_json",
    )
    edited = np.asarray(opened(answer).convert("RGB"))
    assert is_otter(edited)
    assert has_beret(edited, "red")
    assert not has_beret(otter, "red")
    assert overlap(silhouette(otter), silhouette(edited)) >= 0.5


def test_an_edit_takes_the_new_colour_where_the_object_was(embedded: openai.OpenAI) -> None:
    before = draw(embedded, "a red circle on a white background", **seed(3))
    answer = embedded.images.edit(
        model="dall-e-2",
        image=encoded(Image.fromarray(before)),
        prompt="a blue circle on a white background",
        size="256x256",
        response_format="b64_json",
        extra_body={"seed": 1},
    )
    after = np.asarray(opened(answer).convert("RGB"))
    assert nearest_color(object_color(after)) == "blue"
    assert nearest_color(background(after)) == "white"
    assert overlap(silhouette(before), silhouette(after)) >= 0.5


def test_the_same_seed_gives_the_same_bytes_alone_and_in_a_crowd(embedded: openai.OpenAI) -> None:
    def one(number: int) -> bytes:
        return draw(embedded, "a green star on a black background", **seed(number)).tobytes()

    alone = one(11)
    assert one(11) == alone
    assert one(12) != alone
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        crowd = list(pool.map(one, (11, 12, 13, 14)))
    difference = np.abs(np.frombuffer(crowd[0], np.uint8).astype(int) - np.frombuffer(alone, np.uint8))
    assert difference.max() <= 1


def pose(client: openai.OpenAI, person: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The drawn person and the skeleton that was used, (512, 512, 3) uint8 each."""
    answer = client.images.edit(
        model="be-stable-diffusion-xl-base-1.0",
        image=encoded(Image.fromarray(person)),
        prompt="a red person on a yellow background",
        user="cn",
        size="512x512",
        response_format="b64_json",
    )
    assert answer.data is not None
    skeleton = Image.open(io.BytesIO(base64.b64decode(str(answer.data[0].to_dict()["b64_json_pose"]))))
    return np.asarray(opened(answer).convert("RGB")), np.asarray(skeleton.convert("RGB"))


def test_the_skeleton_is_the_persons(embedded: openai.OpenAI) -> None:
    scene = sample_scene(np.random.default_rng(2), "person")
    _, skeleton = pose(embedded, render(scene, 512))
    joints = (scene.keypoints() * 512).astype(int)
    near = [skeleton[max(0, y - 12) : y + 13, max(0, x - 12) : x + 13].max() > 0 for x, y in joints]
    assert sum(near) >= 16, f"the skeleton passes {sum(near)} of 18 joints"


def test_a_person_is_drawn_in_the_pose_of_another(embedded: openai.OpenAI) -> None:
    other = draw(embedded, "a blue person on a white background", size="512x512", **seed(4))
    drawn, _ = pose(embedded, other)
    assert nearest_color(background(drawn)) == "yellow"
    assert overlap(silhouette(other), silhouette(drawn)) >= 0.6


def test_a_picture_without_a_person_has_no_pose(embedded_url: str) -> None:
    circle = render(Scene("circle", "red", "white", size=0.35), 256)
    answer = httpx.post(
        f"{embedded_url}/v1/images/edits",
        data={"prompt": "a red person", "user": "cn", "size": "256x256"},
        files={"image": encoded(Image.fromarray(circle)).getvalue()},
        timeout=60,
    )
    assert_openai_error(answer, 400, "no_pose_found", "image")


def test_a_prompt_that_is_too_long_is_refused_with_its_count(embedded: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        draw(embedded, "a red star " * 400)
    assert (error.value.code, error.value.param) == ("prompt_too_long", "prompt")
    assert "1200" in error.value.message


def test_a_long_prompt_is_drawn(embedded: openai.OpenAI) -> None:
    picture = draw(embedded, "a red circle on a blue background" + ", a picture" * 60, **seed(1))
    assert picture.shape == (256, 256, 3)
