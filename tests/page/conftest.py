"""The page in Debian's Chromium."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright
from ray import serve

from serve_app.app import wire
from serve_app.key_file import append_line, key_hash
from tests.conftest import fake_config
from tests.fakes import build_fake_engine, build_fake_estimator

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

expect.set_options(timeout=15_000)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests; Playwright's event loop ends with this package."""
    if not CHROMIUM.exists():
        pytest.fail(f"The page's tests need {CHROMIUM}; scripts/install-browser installs it.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh tab; fails the test on a script's error, a broken policy or a call to another host."""
    problems: list[str] = []

    def on_request(request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "blob:")):
            problems.append(f"calls {request.url}")

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            problems.append(message.text)

    with browser.new_context() as context:
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.on("console", on_console)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", on_request)
        yield page
    assert not problems


@pytest.fixture
def fake_page(page: Page, fake_url: str) -> Page:
    """The page of the fake engines, ready to draw."""
    open_page(page, fake_url)
    return page


@pytest.fixture(scope="session")
def person() -> dict[str, str | bytes]:
    """A picture to upload: a person on blue, 320×240, as Playwright takes files."""
    image = Image.new("RGB", (320, 240), (90, 140, 190))
    ImageDraw.Draw(image).ellipse((130, 30, 190, 90), (240, 200, 160))
    file = io.BytesIO()
    image.save(file, "PNG")
    return {"name": "person.png", "mimeType": "image/png", "buffer": file.getvalue()}


class Locked(NamedTuple):
    """A service that asks for a key, and whose links work for 3 s."""

    url: str
    key: str


@pytest.fixture(scope="package")
def locked(serve_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """One for all tests."""
    folder, key = tmp_path_factory.mktemp("locked"), "sk-a-key-of-the-tests"
    append_line(folder / "keys", f"tester {key_hash(key)}")
    config = fake_config(
        folder,
        access={"key_file": str(folder / "keys")},
        storage={"location": str(folder / "pictures"), "url_ttl_s": 3},
    )
    serve.run(wire(config, build_fake_engine, build_fake_estimator), name="locked", route_prefix="/locked")
    yield Locked(f"{serve_url}/locked", key)
    serve.delete("locked")


def open_page(page: Page, url: str) -> None:
    """Opens the page and waits until it knows the models."""
    page.goto(f"{url}/")
    expect(page.get_by_label("Size").locator("option")).not_to_have_count(0)
