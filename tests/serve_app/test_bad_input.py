"""Every field's bad values: a clear 4xx in OpenAI's shape that names the field, the value and what is allowed."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.openai_errors import assert_openai_error
from tests.serve_app.orders import GENERATIONS, edit, generate


@pytest.mark.parametrize("prompt", [None, "", "   ", 3, ["a"], {"a": 1}, True])
def test_prompt_that_is_no_text(http: httpx.Client, prompt: object) -> None:
    assert_openai_error(http.post(GENERATIONS, json={"prompt": prompt}), 400, param="prompt")


def test_prompt_that_is_missing(http: httpx.Client) -> None:
    message = assert_openai_error(http.post(GENERATIONS, json={}), 400, param="prompt")
    assert message == "'prompt' is required."


def test_prompt_that_is_too_long(http: httpx.Client) -> None:
    message = assert_openai_error(generate(http, prompt="a" * 32_001), 400, param="prompt")
    assert "32001" in message
    assert "32000" in message


def test_a_size_that_the_gpu_has_no_memory_for_is_refused(http: httpx.Client) -> None:
    assert_openai_error(generate(http, prompt="too-large"), 400, "job_too_large", "size")


def test_prompt_of_too_many_tokens_is_refused_with_the_count(http: httpx.Client) -> None:
    message = assert_openai_error(generate(http, prompt="too-long"), 400, "prompt_too_long", "prompt")
    assert "999" in message


def test_unknown_model_lists_the_served_models(http: httpx.Client) -> None:
    message = assert_openai_error(generate(http, model="dall-e-9"), 404, "model_not_found", "model")
    assert "'dall-e-9'" in message
    assert "be-fake" in message


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("size", "1000x999", "1024x1024"),
        ("size", "big", "1024x1024"),
        ("size", 512, "text"),
        ("quality", "ultra", "smooth"),
        ("quality", 1, "text"),
        ("response_format", "jpeg", "b64_json"),
        ("scheduler", "magic", "dpmpp_2m"),
        ("steps", 0, "from 1"),
        ("steps", 151, "150"),
        ("steps", 2.5, "whole number"),
        ("steps", "ten", "whole number"),
        ("steps", True, "whole number"),
        ("guidance_scale", -1, "from 0"),
        ("guidance_scale", "5", "number"),
        ("guidance_scale", True, "number"),
        ("seed", -1, "from 0"),
        ("seed", 2**63, "9223372036854775807"),
        ("seed", 1.5, "whole number"),
        ("seed", "1", "whole number"),
        ("seed", False, "whole number"),
        ("n", -1, "whole number"),
        ("n", 2**63, "whole number"),
        ("n", 1.0, "whole number"),
        ("n", "2", "whole number"),
        ("n", True, "whole number"),
    ],
)
def test_wrong_value_is_named_with_what_is_allowed(http: httpx.Client, field: str, value: object, says: str) -> None:
    message = assert_openai_error(generate(http, **{field: value}), 400, param=field)
    assert field in message
    assert says in message
    assert str(value)[:20] in message


@pytest.mark.parametrize("n", [0, 11, 2**40])
def test_count_out_of_range(http: httpx.Client, n: int) -> None:
    message = assert_openai_error(generate(http, model="dall-e-2", n=n), 400, param="n")
    assert "1 to 10" in message


def test_seeds_may_not_run_over_the_largest(http: httpx.Client) -> None:
    assert generate(http, model="dall-e-2", n=1, seed=2**63 - 1).status_code == 200
    assert_openai_error(generate(http, model="dall-e-2", n=2, seed=2**63 - 1), 400, param="seed")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strength", "0"),
        ("strength", "1.1"),
        ("strength", "much"),
        ("strength", "nan"),
        ("steps", "0x10"),
        ("steps", "1e2"),
        ("n", "1.5"),
        ("seed", "9" * 30),
    ],
)
def test_wrong_form_value_is_named(http: httpx.Client, field: str, value: str) -> None:
    assert_openai_error(edit(http, None, **{field: value}), 400, param=field)


def test_field_without_effect_is_refused(http: httpx.Client) -> None:
    assert_openai_error(generate(http, strength=0.5), 400, param="strength")
    assert_openai_error(edit(http, controlnet_scale="1"), 400, param="controlnet_scale")
    assert_openai_error(edit(http, user="cn", strength="0.5"), 400, param="strength")


def test_unknown_field_is_refused_by_name(http: httpx.Client) -> None:
    message = assert_openai_error(generate(http, stepz=4), 400, param="stepz")
    assert "'stepz'" in message


def test_unknown_field_is_ignored_where_the_model_says_so(http: httpx.Client) -> None:
    assert generate(http, model="fake-lenient", stepz=4).status_code == 200


def test_null_and_empty_count_as_absent(http: httpx.Client) -> None:
    names = ("model", "n", "size", "quality", "response_format", "user", "seed", "steps", "scheduler", "stepz")
    assert generate(http, **dict.fromkeys(names)).status_code == 200
    assert edit(http, model="", n="", size="", user="", strength="").status_code == 200


@pytest.mark.parametrize("field", ["user", "safety_identifier"])
def test_label_that_is_too_long(http: httpx.Client, field: str) -> None:
    assert "512 characters" in assert_openai_error(generate(http, **{field: "x" * 513}), 400, param=field)
    assert generate(http, **{field: "x" * 512}).status_code == 200


def test_unknown_route_and_method(http: httpx.Client) -> None:
    assert_openai_error(http.get("/v1/nothing"), 404)
    assert_openai_error(http.delete(GENERATIONS), 405)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


FIELDS = ("prompt", "model", "n", "size", "quality", "response_format", "seed", "steps", "scheduler", "guidance_scale")


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES, max_size=4))
def test_no_body_gets_a_500(http: httpx.Client, fields: dict[str, Any]) -> None:
    body = json.dumps(fields, ensure_ascii=True).encode()
    answer = http.post(GENERATIONS, content=body, headers={"Content-Type": "application/json"})
    if answer.status_code != 200:
        assert answer.status_code in (400, 404)
        assert_openai_error(answer, answer.status_code)
