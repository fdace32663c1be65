"""`curate report` and `curate ui`: one page on the dataset and its runs."""

import re
from collections.abc import Callable
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest
from sqlalchemy import select

from curate import viewing
from curate.dedup.search import dedup
from curate.ingest.folder import import_folder
from curate.pages import looks
from curate.pages.looks import Looks
from curate.pages.pictures import pictures
from curate.pages.report import SamplesCard
from curate.progress import QUIET
from curate.project import Project, open_project
from curate.reporting import SHOWN, Samples, report
from curate.share import Share
from db.models import Side, Snapshot
from tests.conftest import Cli
from tests.judging import with_run
from tests.pictures import picture, write_folder
from tests.viewing import viewer
from trainer.cache import Pixels
from trainer.predict import Predictor


@pytest.fixture
def judged(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """A project with a run."""
    return with_run(make_project, tmp_path / "in")


def test_everything_is_counted(judged: Project) -> None:
    """Labels and sides by class, what the best run finds of each, licences, and a row a run."""
    found = report(judged)
    red, green, blue = found.classes
    with judged.database.read() as session:
        (snapshot,) = session.scalars(select(Snapshot))
        sides = [(snapshot.classes[item.class_index], item.side) for item in snapshot.items]
    assert (red.stands.labelled, red.done, green.done, blue.done) == (15, 1.0, 0.5, 0.0)
    assert (red.learned, red.held_out) == (sides.count(("Red", Side.TRAIN)), sides.count(("Red", Side.VALIDATION)))
    assert (red.recall, blue.recall.of) == (Share(3, 4), 0)
    assert [(one.name, one.of, len(one.ids)) for one in found.samples] == [
        ("Red", 15, SHOWN),
        ("Green", 5, 5),
        ("Blue", 0, 0),
        ("None of these", 2, 2),
    ]
    assert [(one.name, one.images) for one in found.licences] == [("", 21), ("CC BY 4.0", 1)]
    assert [(one.name, one.found, one.stored) for one in found.sources] == [("import", 22, 22)]
    assert [(one.name, one.right, one.best) for one in found.runs] == [("0001-pretended", Share(3, 4), True)]


def test_a_renamed_class_keeps_its_numbers(cli: Cli, judged: Project) -> None:
    """The split and the run still say the old name."""
    before = report(judged).classes[0]
    judged.database.close()
    cli("classes", "rename", "Red", "Crimson", cwd=judged.root, check=True)
    found = report(open_project(judged.root))
    renamed = found.classes[0]
    assert (renamed.name, found.best and found.best.classes[0]) == ("Crimson", "Crimson")
    assert (renamed.learned, renamed.held_out, renamed.recall) == (before.learned, before.held_out, before.recall)


def test_where_a_run_looks_is_shown_though_a_class_was_renamed(
    cli: Cli, judged: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the page of an audit, by the names of now; what the network would say is made up here."""
    judged.database.close()
    cli("classes", "rename", "Red", "Crimson", cwd=judged.root, check=True)

    def said(_: object, squares: Pixels, against: list[int], towards: list[int]) -> list[SimpleNamespace]:
        heat = np.zeros((8, 8), np.float32)
        both = zip(squares, against, towards, strict=True)
        return [SimpleNamespace(towards=new, against=old, difference=heat) for _, old, new in both]

    known = SimpleNamespace(classes=("Red", "Green", "Blue"), side=8)
    monkeypatch.setattr(Predictor, "load", lambda *_, **__: known)
    monkeypatch.setattr(looks, "explain", said)
    (found,) = Looks.by(open_project(judged.root), "0001-pretended").over([(picture(1), "Crimson", "Green")])
    assert found is not None
    assert found.words == "blue: speaks for Green, and not for Crimson"


def test_the_filter_finds_letters_that_case_folding_would_change(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    """What is typed is made lower case by the browser, and that is all."""
    project = make_project("Weißbuche", "Eiche")
    import_folder(project, write_folder(tmp_path / "in", {"Weißbuche": range(1)}), labels=True)
    with project.database.read() as session:
        (shown,) = pictures(session, [1]).values()
    card = SamplesCard(Samples("Weißbuche", True, 1, [1]), [shown])
    assert card.find.split()[0] == "weißbuche"
    assert "weißbuche" in shown.find


def test_a_new_project_has_a_report(cli: Cli, project: Project) -> None:
    """Of nothing; and a run whose files are gone costs only what it said."""
    assert cli("report", "--json", cwd=project.root, check=True).json == {"file": str(project.root / "report.html")}
    assert "None is finished yet" in (project.root / "report.html").read_text()


@pytest.mark.parametrize("name", ["validation.safetensors", "manifest.csv"])
@pytest.mark.parametrize("cut", [True, False])
def test_a_report_goes_without_the_files_of_the_best_run(judged: Project, name: str, cut: bool) -> None:
    """Its row is still there."""
    file = judged.runs / "0001-pretended" / name
    file.write_bytes(file.read_bytes()[:100]) if cut else file.unlink()
    found = report(judged)
    assert (found.best, len(found.runs)) == (None, 1)


def test_a_forgotten_image_is_in_no_page_of_the_project(cli: Cli, judged: Project) -> None:
    """What was written where pages go by default is taken away with it; a page of somebody else is not."""
    dedup(judged)
    (judged.root / "notes.html").write_text("mine")
    (judged.root / "link.html").symlink_to("nowhere")
    (judged.root / "folder.html").mkdir()
    for name in ("explained.png", "explained-2.png", "explained-to-me.png"):  # sheets of `curate explain`, but for one
        (judged.root / name).write_bytes(b"a picture")
    for command in (("report",), ("dedup", "--review")):
        cli(*command, cwd=judged.root, check=True)
    cli("forget", "1", cwd=judged.root, check=True)
    assert sorted(path.name for path in judged.root.glob("*.html")) == ["folder.html", "link.html", "notes.html"]
    assert [path.name for path in judged.root.glob("*.png")] == ["explained-to-me.png"]
    (judged.root / "report.html").write_text("<p>of my own</p>")
    cli("forget", "2", cwd=judged.root, check=True)
    assert (judged.root / "report.html").exists()


def test_ui_keeps_to_the_settings_of_now(cli: Cli, judged: Project) -> None:
    """A class that is added while it runs is on the page at the next load; through a tunnel, too."""
    with viewer(judged) as url:
        cli("classes", "add", "Banjo", cwd=judged.root, check=True)
        connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
        connection.request("GET", "/", headers={"Host": "localhost:9999"})
        assert "Banjo" in connection.getresponse().read().decode()
        connection.close()


def test_ui_waits_for_a_slow_line_piece_by_piece(judged: Project) -> None:
    """A socket's timeout is for all of a write: a large page was cut off where it took more than a minute."""
    written: list[bytes] = []
    handler = viewing._Handler.__new__(viewing._Handler)
    handler.request_version, handler.requestline, handler.path = "HTTP/1.1", "GET / HTTP/1.1", "/"
    handler.headers = Message()
    handler.headers["Host"] = "localhost"
    handler.server = SimpleNamespace(drawing=Lock(), project=judged, progress=QUIET)  # type: ignore[assignment]
    handler.wfile = SimpleNamespace(write=written.append)  # type: ignore[assignment]
    handler.do_GET()
    assert max(map(len, written)) <= 1 << 16 < sum(map(len, written))
    assert written[-1].endswith(b"</html>")


def test_ui_answers_nobody_else(judged: Project) -> None:
    """A page elsewhere that takes this machine for its own name is refused, and so is any other path."""
    with viewer(judged) as url:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
        place = urlsplit(url).netloc
        for path, host, status in (("/", place, 200), ("/", "evil.example", 403), ("/../curate.db", place, 404)):
            connection = HTTPConnection(place, timeout=60)
            connection.request("GET", path, headers={"Host": host})
            assert connection.getresponse().status == status
            connection.close()


def test_a_port_that_is_taken_is_told(cli: Cli, judged: Project) -> None:
    """In one line, with what to do."""
    with viewer(judged) as url:
        ran = cli("ui", "--no-browser", "--port", str(urlsplit(url).port), cwd=judged.root)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "--port" in ran.err
