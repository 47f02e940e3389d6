"""The API key, the keyboard, and the page's looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import Locked
from tests.page.test_drawing import done, draw

NAMELESS_FIELDS = """() => [...document.querySelectorAll('input, select, textarea, button, summary, canvas, img')]
  .filter(it => !it.labels?.length && !it.ariaLabel && !it.title && !it.textContent.trim() && !it.hasAttribute('alt'))
  .map(it => it.outerHTML)"""


def test_a_key_is_asked_for_and_kept_in_the_session_only(page: Page, locked: Locked) -> None:
    key = locked.key
    page.goto(locked.url)
    dialog = page.get_by_role("dialog", name="API key")
    dialog.get_by_role("button", name="Cancel").click()
    draw(page, "an otter")
    dialog.get_by_label("Key").fill("sk-••••")  # as other pages show keys; no header can carry it
    page.keyboard.press("Enter")
    assert dialog.get_by_label("Key").evaluate("field => field.validity.patternMismatch")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Key").fill(" a-wrong-key ")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_contain_text("API key")
    dialog.get_by_label("Key").fill(key)
    dialog.get_by_role("button", name="Use this key").click()
    expect(dialog).to_be_hidden()
    done(page)
    assert page.evaluate("[Object.values(sessionStorage), localStorage.length, document.cookie]") == [[key], 0, ""]
    assert key not in page.content()
    expect(page.locator("#curl")).to_contain_text("$OPENAI_API_KEY")
    page.reload()
    expect(page.get_by_label("Size").locator("option")).not_to_have_count(0)
    page.get_by_role("button", name="API key").click()
    dialog.get_by_role("button", name="Forget").click()
    draw(page, "an otter")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("API key")


def tab_to(page: Page, selector: str) -> None:
    """Presses Tab until the element has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
            return
    pytest.fail(f"Tab does not reach {selector}")


def test_everything_works_with_the_keyboard_alone(fake_page: Page, person: Any) -> None:
    keyboard = fake_page.keyboard
    tab_to(fake_page, "[name=prompt]")
    keyboard.type("an otter")
    tab_to(fake_page, "[name=seed]")
    keyboard.type("12")
    tab_to(fake_page, "#draw")
    keyboard.press("Enter")
    done(fake_page)
    tab_to(fake_page, ".link a")
    tab_to(fake_page, "[data-do=edit]")
    keyboard.press("Enter")
    expect(fake_page.get_by_role("radio", name="A picture")).to_be_checked()
    fake_page.locator("[name=task]:checked").focus()
    tab_to(fake_page, "#mask-tools > summary")
    keyboard.press("Enter")
    tab_to(fake_page, "#mark-rectangle")
    keyboard.press("Enter")
    expect(fake_page.get_by_role("status")).to_have_text("The rectangle is marked.")
    tab_to(fake_page, "[name=prompt]")
    keyboard.type(" with a beret")
    keyboard.press("Control+Enter")
    done(fake_page)
    expect(fake_page.locator("#curl")).to_contain_text("mask=@mask.png")


def test_the_api_reference_needs_no_other_host(page: Page, fake_url: str) -> None:
    page.goto(f"{fake_url}/docs")
    expect(page.get_by_text("/v1/images/generations").first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width_px", "height_px"), [(360, 740), (1280, 860)])
def test_it_fits_phones_and_desktops(
    fake_page: Page, person: Any, tmp_path: Path, scheme: Any, width_px: int, height_px: int
) -> None:
    fake_page.emulate_media(color_scheme=scheme)
    fake_page.set_viewport_size({"width": width_px, "height": height_px})
    draw(fake_page, "otters", number="2")
    done(fake_page)
    fake_page.get_by_text("This request as code").click()
    fake_page.get_by_text("Advanced").click()
    for task in ("Text", "A pose", "A picture"):
        fake_page.get_by_role("radio", name=task).check(force=True)
        if task == "A pose":
            fake_page.locator("#file").set_input_files(person)
        if task == "A picture":
            fake_page.get_by_text("Change only a part").click()
        assert fake_page.evaluate("document.documentElement.scrollWidth") <= width_px
        fake_page.screenshot(path=tmp_path / f"{width_px}-{scheme}-{task}.png", full_page=True)
    assert fake_page.evaluate(NAMELESS_FIELDS) == []
