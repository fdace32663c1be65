"""Pages in a real browser: nothing is asked for, nothing complained of, and keys do what the page says."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from curate.comparing import compare
from curate.dedup.search import dedup
from curate.ingest.folder import import_folder
from curate.pages.comparison import write_comparison
from curate.pages.duplicates import write_duplicates
from curate.pages.evaluation import write_evaluation
from curate.pages.pictures import pictures_by_hash
from curate.project import Project
from tests.browser import NEEDS_BROWSER
from tests.judging import fill, pretend
from tests.pictures import encoded, picture

pytestmark = NEEDS_BROWSER


@pytest.fixture
def page(browser: Browser, make_project: Callable[..., Project], tmp_path: Path) -> Iterator[Page]:
    """Three groups as a person sees them. At the end, the file itself is all that the browser asked for."""
    project = make_project("Red", "Green", dedup__descriptor='"none"')
    for seed, name in ((1, "Red"), (2, "Green"), (3, "Green")):
        folder = tmp_path / "in" / name
        folder.mkdir(parents=True, exist_ok=True)
        large = picture(seed, (600, 450))
        (folder / f"{seed}.jpg").write_bytes(encoded(large, quality=92))
        (folder / f"<i onclick=alert(1)>{seed}.jpg").write_bytes(encoded(large.resize((300, 225)), quality=85))
    import_folder(project, tmp_path / "in", labels=True)
    dedup(project)
    file = write_duplicates(project, project.root / "duplicates.html").file
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, permissions=["clipboard-read", "clipboard-write"]
    )
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: None if request.url.startswith("data:") else said.append(request.url))
    page.goto(file.as_uri())
    yield page
    context.close()
    assert said == [file.as_uri()]


def groups(page: Page) -> Locator:
    """What the list shows at present."""
    return page.locator("#groups .item:visible")


def test_every_picture_is_drawn(page: Page) -> None:
    """Under the page's own policy, pictures are decoded and the style applies."""
    expect(groups(page)).to_have_count(3)
    for image in page.locator("#groups img").all():
        image.scroll_into_view_if_needed()
        assert image.evaluate("async image => { await image.decode(); return image.naturalWidth }") > 200
    assert page.locator(".bar").evaluate("bar => getComputedStyle(bar).position") == "sticky"


def test_the_filter_leaves_what_has_all_words(page: Page) -> None:
    """By class, name or number, in any case; Escape brings all back."""
    page.keyboard.press("/")
    page.keyboard.type("GREEN")
    expect(groups(page)).to_have_count(2)
    expect(page.locator("#matches")).to_have_text("2 of 3")
    page.keyboard.type(" 3.jpg")
    expect(groups(page)).to_have_count(1)
    page.keyboard.type(" nothing")
    expect(groups(page)).to_have_count(0)
    page.keyboard.press("Escape")
    expect(groups(page)).to_have_count(3)


def test_keys_go_from_group_to_group(page: Page) -> None:
    """Forward by j and the right arrow, back by k and the left one, past what the filter hides; the ends hold."""
    shown = groups(page)
    for key, place in (("j", 0), ("ArrowRight", 1), ("j", 2), ("j", 2), ("k", 1), ("ArrowLeft", 0), ("k", 0)):
        page.keyboard.press(key)
        expect(shown.nth(place)).to_be_focused()
        expect(shown.nth(place)).to_be_in_viewport()


def test_copies_are_seen_at_the_same_place(page: Page) -> None:
    """Enter enlarges the first picture, a key puts the next one where it was, and the group is still there after."""
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    place, image = page.locator("#zoom-place"), page.locator("#zoom-image")
    expect(place).to_have_text("1 of 2")
    before, box = image.get_attribute("src"), image.bounding_box()
    page.keyboard.press("Space")
    expect(place).to_have_text("2 of 2")
    assert image.get_attribute("src") != before
    assert image.bounding_box() == box
    page.keyboard.press("Space")
    expect(place).to_have_text("1 of 2")
    assert image.get_attribute("src") == before
    page.keyboard.press("Escape")
    expect(page.locator("#zoom")).to_be_hidden()
    page.locator("#groups .picture").nth(1).click()
    expect(place).to_have_text("2 of 2")


@pytest.mark.parametrize("how", ["button", "key", "no clipboard"])
def test_a_command_is_copied(page: Page, how: str) -> None:
    """By its button or by a key, also where the browser has no clipboard for files."""
    if how == "no clipboard":
        page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()) }")
    second = groups(page).nth(1)
    command = second.locator("code").inner_text()
    assert command.startswith("curate dedup --split ")
    if how == "key":
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("c")
    else:
        second.get_by_role("button", name="Copy").click()
    expect(page.locator("#told")).to_have_text(f"Copied: {command}")
    assert page.evaluate("navigator.clipboard.readText()") == command


def test_reports_of_runs_open_without_a_complaint(
    browser: Browser, make_project: Callable[..., Project], tmp_path: Path
) -> None:
    """Figures and pictures of both pages are decoded, wrong answers can be enlarged, and keys find nothing to copy."""
    project = make_project("Red", "Blue", name="judged")
    red = fill(project, tmp_path / "judged-in", {"Red": 4, "Blue": 1})["Red"]
    pretend(project, "one", dict.fromkeys(red, ("Red", "Red")))
    pretend(project, "two", {sha256: ("Red", "Blue" if n else "Red") for n, sha256 in enumerate(red)})
    found = compare(project, "one", "two")
    with project.database.read() as session:
        known = pictures_by_hash(session, (one.sha256 for one in found.differing))
    write_comparison(project, found, known, project.root / "compared.html")
    reported = write_evaluation(project, "two").file
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith("data:") else said.append(request.url))
        for file, images in ((reported, 3 + 3), (project.root / "compared.html", 3)):
            page.goto(file.as_uri())
            expect(page.locator("main img")).to_have_count(images)
            for image in page.locator("main img").all():
                image.scroll_into_view_if_needed()
                assert image.evaluate("async image => { await image.decode(); return image.naturalWidth }") >= 64
            page.keyboard.press("j")
            page.keyboard.press("c")
            page.keyboard.press("Enter")
            expect(page.locator("#zoom-place")).to_have_text("1 of 3")
        assert said == [reported.as_uri(), (project.root / "compared.html").as_uri()]
