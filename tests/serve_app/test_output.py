"""What pictures look like and how answers describe them, through the OpenAI SDK with fake engines."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from serve_app import choices
from serve_app.config import Style
from serve_app.errors import InvalidRequest
from tests.openai_errors import assert_openai_error
from tests.pictures import drawing, encoded, opened, parameters

GENERATIONS = "/v1/images/generations"


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("response_format", ["url", "b64_json"])
def test_pictures_come_in_the_format_that_was_asked_for(
    fake: openai.OpenAI, output_format: Any, response_format: Any
) -> None:
    answer = fake.images.generate(prompt="x", output_format=output_format, response_format=response_format)
    assert answer.output_format == output_format
    assert (opened(answer).format or "").lower() == output_format
    if response_format == "url":
        assert answer.data
        url = answer.data[0].url or ""
        assert url.partition("?")[0].endswith(f".{output_format}")
        assert httpx.get(url).headers["content-type"] == f"image/{output_format}"


def test_png_is_the_default_format(fake: openai.OpenAI) -> None:
    answer = fake.images.generate(prompt="x")
    assert answer.output_format == "png"
    assert opened(answer).format == "PNG"


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
def test_compression_makes_smaller_files(fake: openai.OpenAI, output_format: Any) -> None:
    def size(output_compression: int) -> int:
        answer = fake.images.edit(
            image=encoded(drawing()),
            mask=encoded(Image.new("RGBA", (120, 80), "black")),  # keeps the picture: one colour compresses the same
            prompt="x",
            output_format=output_format,
            output_compression=output_compression,
            response_format="b64_json",
        )
        assert answer.data
        return len(answer.data[0].b64_json or "")

    assert size(0) < size(50) < size(100)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"output_format": "gif"}, "output_format"),
        ({"output_format": "svg"}, "output_format"),
        ({"output_compression": 80}, "output_compression"),
        ({"output_format": "png", "output_compression": 100}, "output_compression"),
        ({"output_format": "jpeg", "output_compression": 101}, "output_compression"),
        ({"output_format": "jpeg", "output_compression": -1}, "output_compression"),
        ({"background": "transparent"}, "background"),
        ({"moderation": "high"}, "moderation"),
        ({"style": "baroque"}, "style"),
        ({"stream": "yes"}, "stream"),
        ({"partial_images": 2}, "partial_images"),
        ({"stream": True, "partial_images": 4}, "partial_images"),
        ({"complexity": "high"}, "complexity"),
        ({"frame_count": 4}, "frame_count"),
        ({"frame_duration_ms": 100}, "frame_duration_ms"),
        ({"svg": {"model": "x"}}, "svg"),
        ({"input_fidelity": "high"}, "input_fidelity"),
        ({"strength": 0.5}, "strength"),
    ],
)
def test_what_can_not_be_had_is_refused_by_name(http: httpx.Client, fields: dict[str, Any], param: str) -> None:
    answer = http.post(GENERATIONS, json={"prompt": "x", **fields})
    message = assert_openai_error(answer, 400, "invalid_value", param)
    assert param in message


def test_a_model_that_ignores_unknown_fields_still_refuses_what_it_knows_it_can_not_do(http: httpx.Client) -> None:
    body = {"prompt": "x", "model": "fake-lenient", "frame_count": 4}
    assert_openai_error(http.post(GENERATIONS, json=body), 400, "invalid_value", "frame_count")


def test_opaque_backgrounds_and_any_moderation_are_accepted(fake: openai.OpenAI) -> None:
    for background in ("opaque", "auto", None):
        for moderation in ("low", "auto", None):
            answer = fake.images.generate(
                prompt="x",
                background=background,
                moderation=moderation,
            )
            assert answer.background == "opaque"


def test_a_style_changes_the_preset_and_fields_go_before_it(fake: openai.OpenAI) -> None:
    def drawn_with(**fields: Any) -> dict[str, str]:
        return parameters(opened(fake.images.generate(prompt="x", model="dall-e-2", **fields)))

    plain, vivid, natural = drawn_with(), drawn_with(style="vivid"), drawn_with(style="natural")
    assert plain["guidance_scale"] == "5.0"
    assert vivid == plain | {"guidance_scale": "9.0", "seed": vivid["seed"]}
    assert natural == plain | {"steps": "3", "scheduler": "ddim", "seed": natural["seed"]}
    assert drawn_with(style="vivid", extra_body={"guidance_scale": 2})["guidance_scale"] == "2.0"


def test_input_fidelity_changes_how_much_is_drawn_anew(fake: openai.OpenAI) -> None:
    def drawn_with(**fields: Any) -> dict[str, str]:
        return parameters(opened(fake.images.edit(image=encoded(drawing()), prompt="x", model="dall-e-2", **fields)))

    assert drawn_with()["strength"] == "0.7"
    assert drawn_with(input_fidelity="high")["strength"] == "0.4"
    low = drawn_with(input_fidelity="low")
    assert (low["strength"], low["guidance_scale"]) == ("0.9", "2.0")
    assert drawn_with(input_fidelity="low", extra_body={"strength": 0.2})["strength"] == "0.2"
    assert drawn_with(input_fidelity="high", user="cn")["controlnet_scale"] == "1.5"


def test_a_style_is_refused_where_the_model_has_none() -> None:
    with pytest.raises(InvalidRequest, match="'style' is not configured") as raised:
        choices.override("style", "vivid", {}, Style())
    assert raised.value.param == "style"


def test_an_answer_says_what_was_drawn(fake: openai.OpenAI) -> None:
    answer = fake.images.generate(prompt="one two three", model="dall-e-2", size="512x512", quality="hd", n=2)
    assert answer.size == "512x512"
    assert answer.to_dict()["quality"] == "hd"
    assert answer.background == "opaque"
    usage = answer.usage
    assert usage
    assert usage.input_tokens_details.text_tokens == usage.input_tokens == 3
    assert usage.output_tokens_details
    assert usage.output_tokens_details.image_tokens == usage.output_tokens == 2 * 32 * 32
    assert usage.total_tokens == 3 + 2 * 32 * 32


def test_an_edits_picture_counts_as_input(fake: openai.OpenAI) -> None:
    usage = fake.images.edit(image=encoded(drawing()), prompt="one two", size="256x256").usage
    assert usage
    assert usage.input_tokens_details.image_tokens == 16 * 16
    assert usage.input_tokens == 2 + 16 * 16


def test_an_alias_answers_in_the_words_of_the_model_it_stands_for(fake: openai.OpenAI) -> None:
    answer = fake.images.generate(prompt="x", model="gpt-image-1", size="1536x1024", quality="high")
    assert answer.data
    assert answer.data[0].b64_json
    assert answer.data[0].url is None
    assert (answer.size, answer.quality) == ("1024x1024", "high")
    assert parameters(opened(answer))["steps"] == "8"
    assert fake.images.generate(prompt="x", model="gpt-image-1").to_dict()["quality"] == "auto"


def test_labels_of_the_client_come_back_and_change_nothing(fake: openai.OpenAI) -> None:
    assert fake.images.generate(prompt="x", user="u-1").safety_identifier == "u-1"
    assert fake.images.generate(prompt="x", user="u-1", safety_identifier="s-1").safety_identifier == "s-1"
    assert fake.images.edit(image=encoded(drawing()), prompt="x", user="cn").safety_identifier is None
    assert fake.images.generate(prompt="x").safety_identifier is None
