"""Bodies and uploads that are malformed, too large, too slow or no picture: a clear 4xx in OpenAI's shape."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Deploy, fake_config
from tests.openai_errors import assert_openai_error
from tests.serve_app.orders import EDITS, GENERATIONS, edit, generate, png
from tests.serve_app.unfinished import read_answer, start_upload


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


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=300), insert=st.integers(0, 200))
def test_no_form_gets_a_500(http: httpx.Client, body: bytes, insert: int) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nstar\r\n--x--\r\n'
    content = form[:insert] + body + form[insert:]
    answer = http.post(EDITS, content=content, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert_openai_error(answer, 400)
