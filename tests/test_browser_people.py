"""Several people in real browsers: what is shown to them, in which order, and what they change later."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from curate import project as projects
from curate.edit import set_value
from curate.ingest.folder import import_folder
from curate.labelling import Labelling
from curate.studio import Environment
from db.models import AnnotationState, Other, Prelabel
from labeler.server import USER
from tests import prepare
from tests.browser import NEEDS_BROWSER, at_work
from tests.labelstudio import PASSWORD, Desk, colleague, fill, person, started, unchecked
from tests.pictures import write_folder
from tests.test_browser import begin, screenshot, submit

CLASSES = ("Stratocaster", "Telecaster", "Jazzmaster")
BOB = "bob@example.org"

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Six images with pre-labels that are kept from people; two classes have an example."""
    folder = tmp_path_factory.mktemp("people") / "project"
    project = unchecked(folder, CLASSES)
    import_folder(project, write_folder(folder.parent / "known", {name: range(1) for name in CLASSES[:2]}), labels=True)
    fill(project, folder.parent / "in", 6, (900, 1400))
    project.database.close()
    set_value(folder / "curate.toml", "labelling.hidden", "1")
    with started(folder) as local, person(local) as someone:
        project = projects.open_project(folder)
        found = Desk(project, Labelling(project, Environment(prepare.cache(), None)), someone)
        found.labelling.push()
        found.predict("run-1", *[(i, "Telecaster", 0.9 - i / 50) for i in found.images()])
        found.labelling.push_prelabels("run-1")
        yield found
    project.database.close()


def chosen(page: Page) -> Locator:
    """Which answer is selected."""
    return page.locator("input.ant-radio-input:checked")


def change(page: Page, name: str, key: str) -> None:
    """Change an answer by a key: again, where the page was still taking in the answer as it stood."""
    update = page.get_by_role("button", name="submit")
    wanted = page.locator(f"input.ant-radio-input[name='{name}']:checked")
    for _ in range(10):
        page.keyboard.press(key)
        with suppress(AssertionError):  # a page that is not ready yet takes no keys
            expect(wanted).to_have_count(1, timeout=2000)
        page.wait_for_timeout(300)
        if wanted.count() and update.is_enabled():
            return
        page.keyboard.press("1")
    raise AssertionError("no key changes this answer")


def test_people_label_side_by_side(browser: Browser, desk: Desk, tmp_path: Path) -> None:
    """Examples are shown, hidden pre-labels are not; two people get different tasks, in the order of the push."""
    kept = desk.labelling.local.credentials()
    tasks = [int(task["id"]) for task in desk.remote()]
    least_sure = max(desk.remote(), key=lambda task: int(task["data"]["image_id"]))["id"]
    with (
        at_work(browser, desk.studio.url, USER, kept.password) as mine,
        colleague(desk.studio, BOB) as bob,
        at_work(browser, desk.studio.url, BOB, PASSWORD) as his,
    ):
        assert begin(mine, desk) == least_sure  # of one person alone
        expect(chosen(mine)).to_have_count(0)
        examples = mine.locator(".curate-example")
        expect(examples).to_have_count(2)
        examples.nth(1).hover()
        mine.wait_for_timeout(700)
        screenshot(mine, tmp_path, "examples")
        mine.keyboard.press("1")
        expect(chosen(mine)).to_have_attribute("name", "Stratocaster")
        submit(mine)
        open_tasks = [task for task in tasks if task != least_sure]
        bob.annotate(open_tasks.pop(), "Telecaster")
        desk.labelling.pull()
        first = begin(mine, desk)
        second = begin(his, desk)
        open_tasks.remove(first)  # the page had asked for it before there were two
        assert second == open_tasks[0]
        mine.keyboard.press("n")
        expect(chosen(mine)).to_have_attribute("name", "None of these")
        submit(mine)
        with his.expect_response(lambda r: "/annotations" in r.url and r.request.method == "POST"):
            his.get_by_role("button", name="Skip").click()
        desk.labelling.pull()
    found = {annotation.task_id: annotation for annotation in desk.annotations() if annotation.task_id is not None}
    states = [annotation.state for annotation in found.values()]
    assert sorted(states) == [AnnotationState.ACTIVE] * 3 + [AnnotationState.SKIPPED]
    assert [a.other for a in found.values() if a.other] == [Other.NONE]
    assert {a.revisions[0].prelabel for a in found.values() if a.class_id} == {
        Prelabel.HIDDEN_SAME,
        Prelabel.HIDDEN_OTHER,
    }


def test_a_person_changes_and_deletes_answers(browser: Browser, desk: Desk, tmp_path: Path) -> None:
    """What is updated in the page comes back as a revision, what is deleted there as a tombstone."""
    kept = desk.labelling.local.credentials()
    first, second = [int(task["id"]) for task in desk.remote() if not task["annotations"]][:2]
    for task in (first, second):
        desk.studio.annotate(task, "Telecaster")
    desk.labelling.pull()
    with at_work(browser, desk.studio.url, USER, kept.password) as page:
        page.goto(f"{desk.studio.url}/projects/{desk.number}/data?task={first}")
        expect(chosen(page)).to_have_attribute("name", "Telecaster", timeout=60_000)
        change(page, "Jazzmaster", "3")
        screenshot(page, tmp_path, "edit")
        with page.expect_response(lambda r: "/annotations/" in r.url and r.request.method == "PATCH"):
            page.get_by_role("button", name="submit").click()
        page.goto(f"{desk.studio.url}/projects/{desk.number}/data?task={second}")
        expect(chosen(page)).to_have_attribute("name", "Telecaster", timeout=60_000)
        own = page.locator(".lsf-annotation-button").first
        own.hover()
        own.locator(".lsf-annotation-button__trigger").click()
        page.wait_for_timeout(500)
        screenshot(page, tmp_path, "menu")
        page.get_by_text("Delete Annotation").click()
        page.wait_for_timeout(500)
        screenshot(page, tmp_path, "delete")
        with page.expect_response(lambda r: "/annotations/" in r.url and r.request.method == "DELETE"):
            page.get_by_role("button", name="Delete").click()
    report = desk.labelling.pull()
    assert report.updated == 2
    found = {annotation.image_id: annotation for annotation in desk.annotations()}
    changed, deleted = found[desk.image_of(first)], found[desk.image_of(second)]
    assert desk.labels()[changed.image_id] == "Jazzmaster"
    assert len(changed.revisions) == 2
    assert deleted.state is AnnotationState.DELETED
    assert deleted.image_id not in desk.labels()
