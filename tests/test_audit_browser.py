"""The page of an audit in a real browser: all of it is drawn, nothing is asked for, keys go from one to the next."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from curate.audit.audit import Asked, audit
from curate.ingest.folder import import_folder
from curate.pages.audit import write_audit
from curate.project import Project
from curate.split import split
from curate.training import options_from, train_run
from tests.browser import NEEDS_BROWSER
from tests.pictures import coloured, encoded

pytestmark = NEEDS_BROWSER


@pytest.fixture
def judged(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """Twelve pictures a class, two in wrong folders, one of them under a name that looks like markup; and a run."""
    project = make_project(
        *("Red", "Green"),
        train__arch='"squeezenet1_1"',
        train__init='"none"',
        train__size="64",
        train__epochs="3",
        train__device='"cpu"',
        dataset__validation="3",
        dataset__target="12",
    )
    wrong = {("Red", 0): "Green", ("Green", 1): "Red"}
    for index, name in enumerate(("Red", "Green")):
        for seed in range(12):
            folder = tmp_path / "in" / wrong.get((name, seed), name)
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"{'<i onclick=alert(1)>' if not seed else ''}{name}{seed}.jpg"
            file.write_bytes(encoded(coloured(index, seed, (480, 360)), quality=90))
    import_folder(project, tmp_path / "in", labels=True)
    split(project)
    train_run(project, options_from(project))
    return project


def test_findings_are_looked_through(judged: Project, browser: Browser) -> None:
    """Each wrong label has its picture, where the run looks, and the most alike of the suggested class; keys go on."""
    file = judged.root / "audit.html"
    report = audit(judged, Asked()).worst(2)
    write_audit(judged, report, file)
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: None if request.url.startswith("data:") else said.append(request.url))
        page.goto(file.as_uri())
        expect(page.locator("#labels .item")).to_have_count(2)
        expect(page.locator("#labels img")).to_have_count(6)
        for image in page.locator("#labels img").all():
            image.scroll_into_view_if_needed()
            assert image.evaluate("async image => { await image.decode(); return image.naturalWidth }") > 200
        first = report.issues[0].finding
        expect(page.locator("#labels .item").first).to_contain_text(first.reason)
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page.locator("#zoom-place")).to_have_text("1 of 3")
        if wanted := os.environ.get("CURATE_SCREENSHOTS"):
            page.keyboard.press("Escape")
            page.screenshot(path=f"{wanted}/audit.png", full_page=True)
        assert said == [file.as_uri()]
