"""Starting from a picture: edits, masks and poses, with fake engines."""

from __future__ import annotations

import io
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Page, expect

from tests.page.test_drawing import done, draw

BLUE = (90, 140, 190)


def start_from(page: Page, task: str, file: Any) -> None:
    page.get_by_role("radio", name=task).check(force=True)
    page.locator("#file").set_input_files(file)
    expect(page.get_by_text("person.png, 320 × 240")).to_be_visible()


def drawn(page: Page) -> Image.Image:
    """The picture behind the link."""
    done(page)
    url = page.get_by_role("link", name="Open link").get_attribute("href") or ""
    return Image.open(io.BytesIO(httpx.get(url).content)).convert("RGB")


def test_only_what_is_painted_is_changed(fake_page: Page, person: Any) -> None:
    start_from(fake_page, "A picture", person)
    fake_page.get_by_text("Change only a part").click()
    canvas = fake_page.locator("#mask")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.8
    fake_page.mouse.move(x - 20, y)
    fake_page.mouse.down()
    fake_page.mouse.move(x + 20, y, steps=4)
    fake_page.mouse.up()
    expect(canvas).to_have_attribute("aria-label", "The mask: a part of the picture is marked")
    draw(fake_page, "a red boat", seed="3")
    image = drawn(fake_page)  # 256×256: the centre of 320×240, scaled
    assert image.getpixel((128, 205)) != BLUE
    for corner in ((5, 5), (250, 5), (5, 250), (250, 250), (128, 130)):
        assert image.getpixel(corner) == BLUE
    expect(fake_page.locator("#code-files")).to_have_text("Files it sends: image.png mask.png")


def test_a_cleared_mask_is_none(fake_page: Page, person: Any) -> None:
    start_from(fake_page, "A picture", person)
    fake_page.get_by_text("Change only a part").click()
    fake_page.get_by_role("button", name="Mark").click()
    fake_page.get_by_role("button", name="Clear", exact=True).first.click()
    draw(fake_page, "a red boat")
    assert drawn(fake_page).getcolors(1), "without a mask the whole picture is drawn anew"
    expect(fake_page.locator("#code-files")).to_have_text("Files it sends: image.png")


def test_a_drawn_picture_can_be_edited(fake_page: Page) -> None:
    draw(fake_page, "an otter", seed="5")
    before = drawn(fake_page)
    fake_page.get_by_role("button", name="Edit this picture").click()
    expect(fake_page.get_by_role("radio", name="A picture")).to_be_checked()
    expect(fake_page.get_by_label("Prompt", exact=True)).to_be_focused()
    fake_page.get_by_label("How much to change").fill("0.5")
    draw(fake_page, "an otter with a beret")
    assert drawn(fake_page) != before
    expect(fake_page.locator("#curl")).to_contain_text("strength=0.5")
    fake_page.get_by_role("button", name="Remove").click()
    fake_page.get_by_role("button", name="Draw").click()
    expect(fake_page.get_by_role("alert").filter(visible=True)).to_contain_text("'image'")


def test_a_pose_comes_with_its_skeleton(fake_page: Page, person: Any) -> None:
    start_from(fake_page, "A pose", person)
    fake_page.get_by_text("Advanced").click()
    fake_page.get_by_label("Pose weight").fill("0.8")
    draw(fake_page, "a dancer")
    done(fake_page)
    skeleton = fake_page.get_by_role("img", name="The skeleton of the pose that was used")
    expect(skeleton).to_be_visible()
    assert skeleton.evaluate("image => image.naturalWidth") == 256
    expect(fake_page.locator("#curl")).to_contain_text("controlnet_scale=0.8")


def test_a_picture_of_nobody_is_refused_in_the_apis_words(fake_page: Page) -> None:
    draw(fake_page, "an otter")
    done(fake_page)
    fake_page.get_by_role("button", name="Take its pose").click()
    draw(fake_page, "a dancer")
    expect(fake_page.get_by_role("alert").filter(visible=True)).to_have_text("No person was found in the picture.")


def test_enter_in_the_rectangles_fields_marks_it(fake_page: Page, person: Any) -> None:
    start_from(fake_page, "A picture", person)
    fake_page.get_by_text("Change only a part").click()
    left = fake_page.get_by_label("Left")
    left.fill("")
    left.press("Enter")
    expect(fake_page.get_by_role("alert").filter(visible=True)).to_contain_text("four numbers")
    left.fill("50")
    left.press("Enter")
    expect(fake_page.get_by_role("status")).to_have_text("The rectangle is marked.")
    draw(fake_page, "a red boat")
    done(fake_page)
    expect(fake_page.locator("#code-files")).to_have_text("Files it sends: image.png mask.png")


DROP = """(type) => {
  const files = new DataTransfer();
  files.items.add(new File(["no"], `file.${type}`, { type }));
  const init = { bubbles: true, cancelable: true };
  return !document.body.dispatchEvent(new DragEvent("drop", { ...init, dataTransfer: files }));
}"""


def test_a_dropped_file_is_taken_or_told_why_not(fake_page: Page) -> None:
    assert fake_page.evaluate(DROP, "application/pdf"), "the browser would open it instead of the page"
    expect(fake_page.get_by_role("alert").filter(visible=True)).to_contain_text("is not a picture")
    expect(fake_page.get_by_role("radio", name="A picture")).to_be_checked()


PASTE_CELLS = """() => {
  const cells = new DataTransfer();
  cells.items.add(new File(["no"], "cells.png", { type: "image/png" }));
  cells.setData("text/plain", "an otter");
  const prompt = document.querySelector("[name=prompt]");
  return prompt.dispatchEvent(new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData: cells }));
}"""


def test_a_spreadsheets_cells_are_pasted_as_text(fake_page: Page) -> None:
    assert fake_page.evaluate(PASTE_CELLS), "the text would be swallowed"
    expect(fake_page.get_by_role("radio", name="Text")).to_be_checked()


def test_a_model_for_poses_alone_offers_no_edit(fake_page: Page, person: Any) -> None:
    draw(fake_page, "an otter")
    done(fake_page)
    expect(fake_page.get_by_role("button", name="Edit this picture")).to_be_visible()
    fake_page.get_by_label("Model").select_option("fake-pose")
    expect(fake_page.get_by_role("button", name="Edit this picture")).to_be_hidden()
    expect(fake_page.get_by_role("button", name="Take its pose")).to_be_visible()
    fake_page.evaluate(DROP, "image/png")
    expect(fake_page.get_by_role("radio", name="A pose")).to_be_checked()


def test_a_file_that_is_no_picture_is_not_taken(fake_page: Page) -> None:
    fake_page.get_by_role("radio", name="A picture").check(force=True)
    fake_page.locator("#file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"no"})
    expect(fake_page.get_by_role("alert").filter(visible=True)).to_contain_text("a.png is not a picture")
