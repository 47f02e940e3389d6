"""The page's files over HTTP."""

from __future__ import annotations

import re

import httpx
import pytest

from serve_app.page_routes import ASSETS

PATHS = ["/" if name == "index.html" else f"/page/{name}" for name in ASSETS]


@pytest.mark.parametrize("path", PATHS)
def test_files_are_served_under_a_strict_policy(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert http.head(path).headers["content-length"] == str(len(answer.content))


@pytest.mark.parametrize("path", PATHS)
def test_an_unchanged_file_is_not_sent_again(http: httpx.Client, path: str) -> None:
    etag = http.get(path).headers["etag"]
    again = http.get(path, headers={"If-None-Match": f'"old", {etag}'})
    assert (again.status_code, again.content) == (304, b"")
    assert http.get(path, headers={"If-None-Match": '"old"'}).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_files_name_no_other_host(http: httpx.Client, path: str) -> None:
    hosts = set(re.findall(r"https?://[^\s\"'`)]+", http.get(path).text))
    assert hosts <= {"http://www.w3.org/2000/svg"}


def test_the_prefix_without_a_slash_leads_to_the_page(http: httpx.Client, fake_url: str) -> None:
    answer = httpx.get(fake_url, follow_redirects=True)
    assert answer.url.path.endswith("/")
    assert answer.text == http.get("/").text


def test_an_unknown_file_is_not_found(http: httpx.Client) -> None:
    assert http.get("/page/api.py").status_code == 404
