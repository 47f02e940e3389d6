"""POST /v1/images/generations and /v1/models through the OpenAI SDK, with fake engines."""

from __future__ import annotations

import base64
import io
import json
import time
from typing import Any

import httpx
import openai
import pytest
from PIL import Image


def picture(b64_json: str | None) -> Image.Image:
    assert b64_json is not None
    return Image.open(io.BytesIO(base64.b64decode(b64_json)))


def draw(client: openai.OpenAI, **fields: Any) -> list[Any]:
    extensions = {name: fields.pop(name) for name in ("seed",) if name in fields}
    fields["extra_body"] = {**extensions, **fields.get("extra_body", {})}
    answer = client.images.generate(**{"model": "dall-e-2", "prompt": "a star", **fields})
    assert abs(answer.created - time.time()) < 60
    assert answer.data
    return list(answer.data)


def test_the_references_example(fake: openai.OpenAI) -> None:
    answer = fake.images.generate(model="be-fake", prompt="A cute baby sea otter", n=1, size="1024x1024")
    assert answer.data is not None
    assert len(answer.data) == 1
    assert answer.data[0].url is not None
    opened = Image.open(io.BytesIO(httpx.get(answer.data[0].url).content))
    assert opened.size == (1024, 1024)


def test_n_is_the_seed_of_one_image_where_the_model_says_so(fake: openai.OpenAI) -> None:
    [seventh] = draw(fake, model="be-fake", n=7, response_format="b64_json")
    [again] = draw(fake, model="be-fake", n=7, response_format="b64_json")
    [eighth] = draw(fake, model="be-fake", n=8, response_format="b64_json")
    assert seventh.seed == 7
    assert seventh.b64_json == again.b64_json
    assert seventh.b64_json != eighth.b64_json


def test_n_is_the_number_of_images_elsewhere(fake: openai.OpenAI) -> None:
    three = draw(fake, n=3, seed=5, response_format="b64_json")
    assert [image.seed for image in three] == [5, 6, 7]
    [second] = draw(fake, seed=6, response_format="b64_json")
    assert three[1].b64_json == second.b64_json


@pytest.mark.parametrize("model", ["be-fake", "dall-e-2"])
def test_n_counts_where_a_seed_is_given(fake: openai.OpenAI, model: str) -> None:
    two = draw(fake, model=model, n=2, extra_body={"seed": 40})
    assert [image.seed for image in two] == [40, 41]


def test_without_a_seed_each_request_draws_another(fake: openai.OpenAI) -> None:
    seeds = {image.seed for _ in range(4) for image in draw(fake)}
    assert len(seeds) == 4


def test_url_or_base64_and_never_both(fake: openai.OpenAI) -> None:
    [as_url] = draw(fake)
    [as_base64] = draw(fake, response_format="b64_json")
    assert as_url.url
    assert as_url.b64_json is None
    assert as_base64.url is None
    assert picture(as_base64.b64_json).format == "PNG"


@pytest.mark.parametrize(
    ("size", "drawn"), [("256x256", (256, 256)), ("1792x1024", (1024, 1024)), ("auto", (256, 256)), (None, (256, 256))]
)
def test_sizes_are_the_models_or_mapped_to_them(fake: openai.OpenAI, size: Any, drawn: tuple[int, int]) -> None:
    [image] = draw(fake, size=size, response_format="b64_json")
    assert picture(image.b64_json).size == drawn


def parameters(client: openai.OpenAI, **fields: Any) -> dict[str, str]:
    [image] = draw(client, response_format="b64_json", **fields)
    embedded: dict[str, str] = json.loads(picture(image.b64_json).info["parameters"])
    return embedded


def test_the_picture_carries_its_parameters(fake: openai.OpenAI) -> None:
    embedded = parameters(fake, extra_body={"seed": 3, "negative_prompt": "blur"})
    assert embedded == {
        "prompt": "a star",
        "negative_prompt": "blur",
        "seed": "3",
        "steps": "4",
        "guidance_scale": "5.0",
        "scheduler": "euler",
        "model": "dall-e-2",
    }


def test_quality_names_a_preset_that_explicit_fields_override(fake: openai.OpenAI) -> None:
    assert parameters(fake, quality="standard")["steps"] == "4"
    assert parameters(fake, quality="hd")["steps"] == "8"
    overridden = parameters(fake, quality="hd", extra_body={"steps": 5, "scheduler": "ddim", "guidance_scale": 0})
    assert (overridden["steps"], overridden["scheduler"], overridden["guidance_scale"]) == ("5", "ddim", "0.0")


def test_models_lists_the_served_names(fake: openai.OpenAI) -> None:
    models = fake.models.list()
    assert [model.id for model in models] == [
        "be-fake",
        "dall-e-2",
        "fake-pose",
        "fake-lenient",
        "lab/fake",
        "gpt-image-1",
    ]
    assert fake.models.retrieve("lab/fake").id == "lab/fake"
    one = fake.models.retrieve("dall-e-2")
    assert (one.object, one.owned_by) == ("model", "fake")
    assert abs(one.created - time.time()) < 3600
    with pytest.raises(openai.NotFoundError) as error:
        fake.models.retrieve("dall-e-9")
    assert error.value.code == "model_not_found"


def test_docs_describe_every_field(http: httpx.Client) -> None:
    assert "swagger" in http.get("/docs").text.lower()
    paths = http.get("/openapi.json").json()["paths"]
    body = paths["/v1/images/edits"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {"image", "prompt", "strength", "user"} <= body["properties"].keys()
