"""The page of `curate report` in a real browser, from a file and from `curate ui`."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from curate.ingest.folder import import_folder
from curate.pages.report import write_report
from curate.project import Project
from tests.browser import NEEDS_BROWSER
from tests.judging import with_run
from tests.pictures import write_folder
from tests.viewing import viewer

pytestmark = NEEDS_BROWSER


@pytest.fixture
def judged(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """A project with a run."""
    return with_run(make_project, tmp_path / "in")


def test_the_page_draws_itself_under_its_own_policy(browser: Browser, judged: Project) -> None:
    """Every picture is there, nothing else is asked for, and the filter finds a class."""
    write_report(judged, judged.root / "report.html")
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: None if request.url.startswith("data:") else said.append(request.url))
    page.goto((judged.root / "report.html").as_uri())
    cards = page.locator("#pictures .item:visible")
    expect(cards).to_have_count(4)
    expect(page.locator("#classes tbody tr")).to_have_count(3)
    for image in page.locator("main img").all():
        image.scroll_into_view_if_needed()
        assert image.evaluate("async image => { await image.decode(); return image.naturalWidth }") > 0
    page.locator("#filter").fill("green")
    expect(cards).to_have_count(1)
    assert said == [(judged.root / "report.html").as_uri()]
    page.close()


def test_ui_shows_what_is_there_now(browser: Browser, judged: Project, tmp_path: Path) -> None:
    """Loaded again, the page has what came in meanwhile. Ctrl-C ends it."""
    with viewer(judged) as url:
        page = browser.new_page()
        page.goto(url)
        expect(page.locator("h1")).to_have_text(judged.settings.dataset.name)
        before = page.locator(".figures dd").first.inner_text()
        import_folder(judged, write_folder(tmp_path / "more", {"Red": range(50, 53)}), labels=True)
        page.reload()
        assert int(page.locator(".figures dd").first.inner_text()) == int(before) + 3
        page.close()
