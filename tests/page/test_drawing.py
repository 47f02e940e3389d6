"""Drawing on the page, with fake engines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import Locked, open_page


def draw(page: Page, prompt: str, **fields: str) -> None:
    """Fills the form by its labels and draws."""
    page.get_by_label("Prompt", exact=True).fill(prompt)
    for label, value in fields.items():
        page.get_by_label(label.capitalize(), exact=True).fill(value)
    page.get_by_role("button", name="Draw").click()


def done(page: Page) -> None:
    expect(page.get_by_role("status")).to_contain_text("Done")


def test_previews_come_and_the_picture_has_a_link_that_opens(fake_page: Page) -> None:
    draw(fake_page, "an otter sleep-late=1.5", seed="41")
    status = fake_page.get_by_role("status")
    expect(status).to_have_text("Preview 2 of 2")
    expect(fake_page.locator(".preview .main img")).to_have_js_property("complete", True)
    expect(fake_page.get_by_role("progressbar", name="Drawing")).to_have_js_property("value", 4)
    expect(fake_page.get_by_text("Step 4 of 4")).to_be_visible()
    done(fake_page)
    expect(fake_page.get_by_role("progressbar")).to_be_hidden()
    expect(fake_page.get_by_text("Seed 41 · 256 × 256")).to_be_visible()
    expect(fake_page.get_by_text("(60 min left)")).to_be_visible()
    with fake_page.expect_popup() as popup:
        fake_page.get_by_role("link", name="Open link").click()
    picture = httpx.get(popup.value.url)
    assert picture.headers["content-type"] == "image/png"
    with fake_page.expect_download() as download:
        fake_page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "41.png"
    assert Path(download.value.path()).read_bytes() == picture.content


def test_a_seed_may_be_written_as_any_whole_number(fake_page: Page) -> None:
    draw(fake_page, "an otter", seed="1e3")
    done(fake_page)
    expect(fake_page.get_by_text("Seed 1000 · 256 × 256")).to_be_visible()


def test_a_number_of_pictures_counts_the_seed_up(fake_page: Page) -> None:
    draw(fake_page, "otters", seed="9223372036854775805", number="3")
    done(fake_page)
    facts = fake_page.locator(".facts").all_inner_texts()
    assert facts == [f"Seed {2**63 - 3 + k} · 256 × 256" for k in range(3)]
    fake_page.get_by_role("button", name="Use its seed").last.click()
    expect(fake_page.get_by_label("Seed")).to_have_value(str(2**63 - 1))


def test_errors_speak_the_apis_words_and_lead_to_their_field(fake_page: Page) -> None:
    alert = fake_page.get_by_role("alert").filter(visible=True)
    draw(fake_page, "")
    expect(alert).to_have_text("'prompt' is required.")
    expect(fake_page.get_by_label("Prompt", exact=True)).to_be_focused()
    draw(fake_page, "an otter")
    done(fake_page)
    expect(alert).to_be_hidden()
    fake_page.locator("[name=steps]").evaluate("input => input.value = '999'")
    fake_page.get_by_role("button", name="Draw").click()
    expect(alert).to_have_text("'steps' must be a whole number from 1 to 150; got 999.")
    expect(fake_page.get_by_label("Steps")).to_be_focused()
    expect(fake_page.locator(".card")).to_have_count(1)  # the last picture is still there


def test_an_error_after_the_previews_is_shown_too(fake_page: Page) -> None:
    draw(fake_page, "fail-late")
    expect(fake_page.get_by_role("alert").filter(visible=True)).to_contain_text("The picture could not be drawn.")


def test_cancel_stops_the_work(fake_page: Page, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    draw(fake_page, f"sleep=8 mark={mark}")
    fake_page.wait_for_timeout(500)
    fake_page.get_by_role("button", name="Cancel").click()
    expect(fake_page.get_by_role("status")).to_have_text("Cancelled.")
    for _ in range(50):
        if mark.read_text() == "cancelled":
            return
        fake_page.wait_for_timeout(100)
    pytest.fail("the engine still draws")


def test_the_code_draws_the_same_picture(fake_page: Page, tmp_path: Path) -> None:
    draw(fake_page, """it's "a" $HOME \\n otter""", seed="7")
    done(fake_page)
    fake_page.get_by_text("This request as code").click()
    fake_page.locator("[data-copy=python]").click()
    python = fake_page.evaluate("navigator.clipboard.readText()")
    subprocess.run([sys.executable, "-c", python], cwd=tmp_path, check=True)
    picture = httpx.get(fake_page.get_by_role("link", name="Open link").get_attribute("href") or "").content
    assert (tmp_path / "picture-0.png").read_bytes() == picture
    curl = subprocess.run(["bash", "-c", fake_page.locator("#curl").inner_text()], capture_output=True, check=True)
    assert b"event: image_generation.completed" in curl.stdout


def test_an_expired_link_says_so(page: Page, locked: Locked) -> None:
    page.add_init_script(f"sessionStorage.setItem('api-key', '{locked.key}')")
    open_page(page, locked.url)
    draw(page, "an otter")
    done(page)
    link = page.get_by_role("link", name="Open link")
    url = link.get_attribute("href") or ""
    expect(page.get_by_text("This browser still has the picture.")).to_be_visible()
    expect(link).to_be_hidden()
    assert httpx.get(url).status_code == 410


def test_a_model_brings_its_sizes_and_qualities(fake_page: Page) -> None:
    fake_page.get_by_label("Model").select_option("dall-e-2")
    fake_page.get_by_label("Size").select_option("1792x1024")
    fake_page.get_by_label("Quality").select_option("hd")
    fake_page.get_by_text("Advanced").click()
    expect(fake_page.get_by_label("Steps")).to_have_attribute("placeholder", "8")
    draw(fake_page, "an otter")
    done(fake_page)
    expect(fake_page.get_by_text("1024 × 1024")).to_be_visible()
    fake_page.get_by_label("Model").select_option("fake-pose")
    expect(fake_page.get_by_role("radio", name="A picture")).to_be_disabled()


def test_the_gallery_keeps_pictures_until_it_is_cleared(fake_page: Page) -> None:
    draw(fake_page, "a first otter", seed="1")
    done(fake_page)
    draw(fake_page, "a second otter", seed="2")
    done(fake_page)
    fake_page.reload()
    gallery = fake_page.get_by_role("region", name="Your last pictures")
    assert [image.get_attribute("alt") for image in gallery.get_by_role("img").all()] == [
        "a second otter",
        "a first otter",
    ]
    gallery.get_by_role("button", name="a first otter").click()
    expect(fake_page.get_by_text("Seed 1 · 256 × 256")).to_be_visible()
    expect(fake_page.locator("#curl")).to_contain_text("a first otter")
    gallery.get_by_role("button", name="Clear").click()
    fake_page.get_by_role("button", name="Keep them").click()
    expect(gallery.get_by_role("img")).to_have_count(2)
    gallery.get_by_role("button", name="Clear").click()
    fake_page.get_by_role("button", name="Delete them").click()
    expect(gallery).to_be_hidden()
