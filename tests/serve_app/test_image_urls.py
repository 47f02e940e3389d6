"""Image URLs from their making to their end."""

from __future__ import annotations

import io
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from PIL import Image
from ray import serve

from tests.conftest import Deploy, deploy_as_file, fake_config
from tests.openai_errors import assert_openai_error
from tests.waiting import eventually


def draw(base_url: str, **headers: str) -> str:
    """Draws one picture and returns its URL."""
    answer = httpx.post(
        f"{base_url}/v1/images/generations", json={"model": "dall-e-2", "prompt": "a star"}, headers=headers, timeout=60
    )
    assert answer.status_code == 200, answer.text
    url: str = answer.json()["data"][0]["url"]
    return url


def test_a_url_opens_without_a_key_and_with_any(fake_url: str) -> None:
    url = draw(fake_url)
    answer = httpx.get(url, headers={"Authorization": "Bearer of nothing"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert int(answer.headers["content-length"]) == len(answer.content)
    private, max_age = answer.headers["cache-control"].split(", ")
    assert private == "private"
    assert 3590 <= int(max_age.removeprefix("max-age=")) <= 3600
    assert Image.open(io.BytesIO(answer.content)).size == (256, 256)


def test_head_answers_as_get_without_the_picture(fake_url: str) -> None:
    url = draw(fake_url)
    head, get = httpx.head(url), httpx.get(url)
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"]


def test_the_url_is_what_the_client_called_and_ends_in_the_extension(fake_url: str) -> None:
    url = urlsplit(draw(fake_url))
    assert url.geturl().startswith(f"{fake_url}/images/")
    assert url.path.endswith(".png")
    named = draw(fake_url, host="localhost:81")
    assert named.startswith("http://localhost:81/fake/images/")


def test_a_url_works_for_exactly_its_time(fake_url: str) -> None:
    expires = int(parse_qs(urlsplit(draw(fake_url)).query)["expires"][0])
    assert abs(expires - 3600 - time.time()) < 2


def test_a_url_says_nothing_about_the_request_and_can_not_be_guessed(fake_url: str) -> None:
    first, second = (urlsplit(draw(fake_url)).path.rpartition("/")[2] for _ in range(2))
    assert len(first.partition(".")[0]) == 32
    assert first != second


@pytest.mark.parametrize(
    "tamper",
    [
        lambda url: url.replace("expires=1", "expires=2"),
        lambda url: url[:-1] + ("A" if url[-1] != "A" else "B"),
        lambda url: url.partition("?")[0],
        lambda url: url.replace("signature=", "signature=x"),
        lambda url: url.replace(".png", ".jpeg"),
    ],
    ids=["later", "signature", "bare", "longer", "other-id"],
)
def test_a_tampered_url_is_403(fake_url: str, tamper: object) -> None:
    assert callable(tamper)
    url = draw(fake_url)
    changed = tamper(url)
    assert changed != url
    assert_openai_error(httpx.get(changed), 403, "invalid_signature")


def test_public_url_expiry_and_sweeping(deploy: Deploy, tmp_path: Path) -> None:
    store = tmp_path / "pictures"
    config = fake_config(
        tmp_path,
        public_url="https://localhost:1/base/",
        storage={"location": str(store), "url_ttl_s": 3, "keep_margin_s": 1, "sweep_interval_s": 0.3},
    )
    base_url = deploy("short", config)
    public = draw(base_url)
    assert public.startswith("https://localhost:1/base/images/")
    url = public.replace("https://localhost:1/base", base_url)
    assert httpx.get(url).status_code == 200
    eventually(lambda: httpx.get(url).status_code != 200, within_s=10)
    assert_openai_error(httpx.get(url), 410, "url_expired")
    eventually(lambda: not list(store.glob("*.png")), within_s=10)


def test_keys_are_rotated_by_deploying_files_of_other_names(serve_url: str, tmp_path: Path) -> None:
    old, new, base_url = "o" * 32, "n" * 32, f"{serve_url}/rotated"

    def deploy(name: str, *keys: str) -> None:
        file = tmp_path / name
        file.write_text("\n".join(keys))
        deploy_as_file("rotated", fake_config(tmp_path, access={"url_keys_file": str(file)}), [])

    try:
        deploy("first", old)
        first = draw(base_url)
        deploy("first", new)
        assert httpx.get(first).status_code == 200, "a file of the same name is not read again"
        deploy("second", new, old)
        second = draw(base_url)
        assert [httpx.get(url).status_code for url in (first, second)] == [200, 200]
        deploy("third", new)
        assert_openai_error(httpx.get(first), 403, "invalid_signature")
        assert httpx.get(second).status_code == 200
    finally:
        serve.delete("rotated")


def test_a_url_outlives_the_service_but_not_its_picture(deploy: Deploy, tmp_path: Path) -> None:
    config = fake_config(tmp_path)
    url = draw(deploy("again", config))
    picture = httpx.get(url).content
    serve.delete("again")
    deploy("again", config)
    assert httpx.get(url).content == picture
    [file] = (tmp_path / "pictures").glob("*.png")
    file.unlink()
    assert_openai_error(httpx.get(url), 404, "image_not_found")
