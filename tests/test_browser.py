"""The labelling page in a real browser: what a person sees, and what their keys do."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from curate import project as projects
from curate.labelling import Labelling
from curate.studio import Environment
from db.models import Prelabel
from labeler.server import USER
from tests import prepare
from tests.browser import NEEDS_BROWSER, at_work
from tests.conftest import Cli
from tests.environment import clean_env
from tests.labelstudio import Desk, fill, person, started, unchecked

CLASSES = ("Stratocaster", "Telecaster", "Les Paul", "SG", "<b>&\"Flying V'", "\N{GUITAR} other")

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Four images on a server of the project's own, each with a pre-label."""
    folder = tmp_path_factory.mktemp("browser") / "project"
    project = unchecked(folder, CLASSES)
    fill(project, folder.parent / "in", 4, (900, 1400))
    project.database.close()
    with started(folder) as local, person(local) as someone:
        project = projects.open_project(folder)
        found = Desk(project, Labelling(project, Environment(prepare.cache(), None)), someone)
        scores = (0.91, 0.32, 0.55, 0.74)
        found.predict("run-1", *[(i, "Telecaster", s) for i, s in zip(found.images(), scores, strict=True)])
        found.labelling.push()
        yield found
    project.database.close()


@pytest.fixture
def page(browser: Browser, desk: Desk) -> Iterator[Page]:
    """The browser of a person who is signed in."""
    password = desk.labelling.local.credentials().password
    with at_work(browser, desk.studio.url, USER, password) as page:
        yield page


def screenshot(page: Page, folder: Path, name: str) -> None:
    """Keep what the page looks like, for people too where CURATE_SCREENSHOTS says so."""
    path = folder / f"{name}.png"
    page.screenshot(path=path)
    wanted = os.environ.get("CURATE_SCREENSHOTS")
    if wanted:
        Path(wanted).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, wanted)


def test_a_person_labels_by_the_keyboard(page: Page, desk: Desk, cli: Cli, tmp_path: Path) -> None:
    """The least sure image comes first with its pre-label selected; a key changes the class, Control+Enter submits.

    The key of what is selected takes it away, as Label Studio has it; who submits that is told.
    """
    begin(page, desk)
    selected = page.get_by_role("radio", checked=True)
    expect(selected).to_have_attribute("name", "Telecaster", timeout=60_000)
    shows_all_of_it(page)
    screenshot(page, tmp_path, "labelling")
    page.keyboard.press("1")
    expect(selected).to_have_attribute("name", "Stratocaster")
    submit(page)
    expect(selected).to_have_attribute("name", "Telecaster", timeout=60_000)
    submit(page)
    expect(selected).to_have_attribute("name", "Telecaster", timeout=60_000)
    page.keyboard.press("2")
    expect(selected).to_have_count(0)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("The key of what is selected takes it away.")).to_be_visible()
    cli("label", "pull", "--project", desk.root, check=True)
    second, third = desk.images()[1:3]
    assert desk.labels() == {second: "Stratocaster", third: "Telecaster"}
    found = {a.image_id: a.revisions[-1].prelabel for a in desk.annotations()}
    assert found == {second: Prelabel.CHANGED, third: Prelabel.ACCEPTED}


def begin(page: Page, desk: Desk) -> int:
    """Begin to label as people do, and give the task that is shown first."""
    page.goto(f"{desk.studio.url}/projects/{desk.number}/data")
    with page.expect_response(lambda r: "next_task" in r.url) as came:
        page.get_by_role("button", name="Label All Tasks").click()
    expect(page.get_by_role("radio").first).to_be_visible(timeout=60_000)
    return int(came.value.json()["id"])


def shows_all_of_it(page: Page) -> None:
    """The whole picture and every class with its key are in the window, without scrolling."""
    window = page.viewport_size
    assert window is not None
    picture = page.locator("img[alt=image], img[src*='local-files']").first
    expect(picture).to_be_visible()
    classes = [page.get_by_role("radio", name=name) for name in CLASSES]
    for thing in (picture, *classes):
        box = thing.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= window["width"]
        assert box["y"] + box["height"] <= window["height"]
    keys = {name: str(number) for number, name in enumerate(CLASSES, start=1)}
    for name, key in (keys | {"None of these": "n", "Several": "m", "Unusable picture": "x"}).items():
        expect(page.get_by_text(f"{name}[{key}]", exact=True)).to_be_visible()


def submit(page: Page) -> None:
    """Send the answer, and wait until the server has it."""
    with page.expect_response(lambda r: "/annotations" in r.url and r.request.method == "POST") as sent:
        page.keyboard.press("Control+Enter")
    assert sent.value.status == 201


def test_open_signs_the_browser_in(browser: Browser, desk: Desk, tmp_path: Path) -> None:
    """`curate label open` hands the browser an address that works once, and leads to the page without a password."""
    note = tmp_path / "address"
    script = tmp_path / "browser.sh"
    script.write_text(f'#!/bin/sh\nprintf %s "$1" > {note}.new && mv {note}.new {note}\n')
    script.chmod(0o755)
    command = [sys.executable, "-m", "curate", "label", "open", "--project", str(desk.root)]
    with subprocess.Popen(command, env=clean_env() | {"BROWSER": f"{script} %s"}, stdout=subprocess.PIPE) as opening:
        deadline = time.monotonic() + 60
        while not note.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        address = note.read_text()
        context = browser.new_context()
        page = context.new_page()
        answer = page.goto(address)
        assert answer is not None
        assert page.url == f"{desk.studio.url}/projects/{desk.number}/data"
        said, _ = opening.communicate()
        context.close()
    assert said.decode().strip() == f"{desk.studio.url}/projects/{desk.number}/data"
    with pytest.raises(httpx.ConnectError):
        httpx.get(address, trust_env=False)
