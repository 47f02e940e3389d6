"""Every row of bad input: a clear 4xx in OpenAI's shape that names the field, the value and what is allowed."""

from __future__ import annotations

import contextlib
import io
import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import Deploy, fake_config
from tests.openai_errors import assert_openai_error

GENERATIONS = "/v1/images/generations"
EDITS = "/v1/images/edits"


def png(size: tuple[int, int] = (64, 64), colour: str = "teal") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def generate(http: httpx.Client, **fields: Any) -> httpx.Response:
    return http.post(GENERATIONS, json={"prompt": "a star", **fields})


def edit(http: httpx.Client, image: bytes | None = None, **fields: Any) -> httpx.Response:
    files = {"image": ("x.png", png() if image is None else image, "image/png")}
    return http.post(EDITS, data={"prompt": "a star", **fields}, files=files)


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


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"prompt"',
        b'{"prompt": "x", "n": NaN}',
        b'{"prompt": "x", "guidance_scale": Infinity}',
        b'{"prompt": "\\ud800"}',
        b'{"prompt": "\xff"}',
        b"[" * 50_000,
        b'{"prompt": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    ],
    ids=["empty", "open", "array", "string", "nan", "infinity", "surrogate", "not-utf8", "brackets", "nested"],
)
def test_malformed_json(http: httpx.Client, body: bytes) -> None:
    assert_openai_error(http.post(GENERATIONS, content=body, headers={"Content-Type": "application/json"}), 400)


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", ""])
def test_wrong_content_type(http: httpx.Client, content_type: str) -> None:
    answer = http.post(GENERATIONS, content=b'{"prompt": "x"}', headers={"Content-Type": content_type})
    assert_openai_error(answer, 415, "unsupported_media_type")
    assert_openai_error(http.post(EDITS, content=b"x", headers={"Content-Type": content_type}), 415)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x"),
        ("multipart/form-data; boundary=x", b"nothing like a form"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nPNG',
        ),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: nonsense\r\n\r\n1\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\n: \r\n\r\n1\r\n--x--\r\n"),
    ],
)
def test_broken_multipart(http: httpx.Client, content_type: str, body: bytes) -> None:
    assert_openai_error(http.post(EDITS, content=body, headers={"Content-Type": content_type}), 400)


def test_image_is_required(http: httpx.Client) -> None:
    answer = http.post(EDITS, data={"prompt": "x"}, files={"other": b"x"})
    assert_openai_error(answer, 400)
    answer = http.post(EDITS, data={"prompt": "x"}, files={"x": ("", b"")})
    assert_openai_error(answer, 400)


@pytest.mark.parametrize(
    "image",
    [b"", b"hello", b"GIF89a\x01\x00\x01\x00", png()[:60], png((2001, 2000))],
    ids=["zero-bytes", "no-image", "gif", "truncated", "too-many-pixels"],
)
def test_upload_that_is_no_picture(http: httpx.Client, image: bytes) -> None:
    assert_openai_error(edit(http, image), 400, param="image")


def start_upload(http: httpx.Client, framing: str, sent_bytes: int) -> socket.socket:
    """Sends the head and a part of a body."""
    url = http.base_url
    connection = socket.create_connection((url.host, url.port or 80), timeout=20)
    request_line = f"POST {url.raw_path.decode()}{GENERATIONS[1:]} HTTP/1.1"
    connection.sendall(
        f"{request_line}\r\nHost: localhost\r\nContent-Type: application/json\r\n{framing}\r\n\r\n".encode()
    )
    piece = b" " * 100_000
    with contextlib.suppress(ConnectionError):
        for _ in range(0, sent_bytes, len(piece)):
            connection.sendall(b"%X\r\n%b\r\n" % (len(piece), piece) if "chunked" in framing else piece)
    return connection


def read_answer(connection: socket.socket) -> bytes:
    """The answer to an unfinished request: an error, so it ends in two braces."""
    answer = b""
    while not answer.endswith(b"}}"):
        answer += connection.recv(65536)
    return answer


@pytest.mark.parametrize("framing", ["Content-Length: 500000000", "Transfer-Encoding: chunked"])
def test_body_over_the_limit_is_refused_before_all_of_it_is_sent(http: httpx.Client, framing: str) -> None:
    with start_upload(http, framing, sent_bytes=2_100_000) as connection:  # the limit is 2 MB
        answer = read_answer(connection)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"body_too_large" in answer


def test_uploads_that_never_end_do_not_fill_the_memory(http: httpx.Client) -> None:
    framing = "Content-Length: 1900000"
    with start_upload(http, framing, 1_800_000), start_upload(http, framing, 1_800_000) as second:  # 3 MB together
        answer = read_answer(second)
    assert answer.startswith(b"HTTP/1.1 429")
    assert b"queue_full" in answer
    assert generate(http).status_code == 200


def test_an_upload_that_stalls_is_ended(deploy: Deploy, tmp_path: Path) -> None:
    url = deploy("stalls", fake_config(tmp_path, limits={"body_timeout_s": 1}))
    with httpx.Client(base_url=url) as http, start_upload(http, "Content-Length: 9000", 0) as connection:
        answer = read_answer(connection)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"body_too_slow" in answer
        assert generate(http, prompt="sleep=2").status_code == 200, "only the body has to be there in time"


@pytest.mark.parametrize("charset", ["punycode", "unicode_escape", "utf-16", "nonsense", '"utf-7"'])
def test_form_in_another_charset(http: httpx.Client, charset: str) -> None:
    """Codecs are code that clients would choose: punycode takes minutes for a megabyte."""
    body = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n-a\r\n--x--\r\n'
    headers = {"Content-Type": f"multipart/form-data; charset={charset}; boundary=x"}
    message = assert_openai_error(http.post(EDITS, content=body, headers=headers), 415, "unsupported_media_type")
    assert charset.strip('"') in message
    headers = {"Content-Type": "multipart/form-data; charset=UTF-8; boundary=x"}
    assert_openai_error(http.post(EDITS, content=body, headers=headers), 400, param="image")


def test_json_of_very_many_values(http: httpx.Client) -> None:
    body = {"prompt": "x", "extra": [[]] * 100_000}
    message = assert_openai_error(http.post(GENERATIONS, json=body), 400)
    assert "100000 values" in message
    assert generate(http, prompt=", " * 16_000).status_code == 200


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


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=300), insert=st.integers(0, 200))
def test_no_form_gets_a_500(http: httpx.Client, body: bytes, insert: int) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nstar\r\n--x--\r\n'
    content = form[:insert] + body + form[insert:]
    answer = http.post(EDITS, content=content, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert_openai_error(answer, 400)
