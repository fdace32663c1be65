"""A person at the labelling page while `curate label watch` runs: answers come in, a new model's word comes back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from curate import project as projects
from curate.edit import set_value
from curate.labelling import Labelling
from curate.studio import Environment
from db.models import Prelabel, Run
from labeler.server import USER
from tests import prepare
from tests.browser import NEEDS_BROWSER, at_work
from tests.labelstudio import Desk, fill, person, started, unchecked
from tests.test_browser import begin, screenshot, submit
from tests.test_watch_training import SETTINGS
from tests.watching import Watching, watching

pytestmark = [*NEEDS_BROWSER, pytest.mark.long]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Eight images for a server of the project's own, none of them handed out."""
    folder = tmp_path / "project"
    project = unchecked(folder, ("Red", "Green"))
    fill(project, tmp_path / "in", 8, (600, 400))
    project.database.close()
    for key, value in SETTINGS.items():
        set_value(folder / "curate.toml", key, value)
    with started(folder) as local, person(local) as someone:
        project = projects.open_project(folder)
        yield Desk(project, Labelling(project, Environment(prepare.cache(), None)), someone)
        project.database.close()


@pytest.fixture
def page(browser: Browser, desk: Desk) -> Iterator[Page]:
    """The browser of a person who is signed in."""
    password = desk.labelling.local.credentials().password
    with at_work(browser, desk.studio.url, USER, password) as page:
        yield page


def newest_run(desk: Desk) -> str:
    """Name of the run trained last."""
    with desk.project.database.read() as session:
        return session.scalars(select(Run.name).order_by(Run.id.desc())).first() or ""


def test_the_next_task_carries_what_was_learned_from_the_last(page: Page, desk: Desk, tmp_path: Path) -> None:
    """Keys and Control+Enter: each answer comes in; after a training the page preselects what the new run says."""
    with watching(desk, "--every", "4", env={}) as watch:
        watch.until(lambda: len(desk.remote()) == 8)
        begin(page, desk)
        for place, key in enumerate("1212"):
            answer(page, watch, desk, key, place + 1)
        watch.until_said("is trained")
        watch.until_said("pre-labels of run")
        # This task was in the page before the training: it has no pre-label yet. The one after it has.
        answer(page, watch, desk, "1", 5)
        selected = page.get_by_role("radio", checked=True)
        expect(selected).to_have_count(1, timeout=60_000)
        said = selected.get_attribute("name")
        screenshot(page, tmp_path, "watched")
        task = desk.studio.ask("GET", f"/api/projects/{desk.number}/next")
        (shown,) = task["predictions"]
        assert shown["model_version"] == newest_run(desk)
        assert shown["result"][0]["value"]["choices"] == [said]
        submit(page)
        watch.until(lambda: len(desk.labels()) == 6)
        assert watch.end().json["trained"][0]["run"] == newest_run(desk)
    *before, last = desk.annotations()
    assert {a.revisions[-1].prelabel for a in before} == {Prelabel.NONE}
    assert last.revisions[-1].prelabel is Prelabel.ACCEPTED
    assert desk.labels()[last.image_id] == said


def answer(page: Page, watch: Watching, desk: Desk, key: str, count: int) -> None:
    """Choose by a key what is not chosen yet, submit, and see it come in as the `count`-th label."""
    expect(page.get_by_role("radio", checked=True)).to_have_count(0, timeout=60_000)
    expect(page.get_by_role("radio", name="Red")).to_be_visible()
    page.keyboard.press(key)
    expect(page.get_by_role("radio", checked=True)).to_have_count(1)
    submit(page)
    watch.until(lambda: len(desk.labels()) == count)
