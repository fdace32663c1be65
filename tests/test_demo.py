"""`curate demo` and `curate loop`: the whole of it, through the real parts."""

import socket
import struct
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from curate.cli.main import run
from curate.demo import story
from curate.demo.story import Scale, demo
from curate.demo.web import serve
from curate.demo.world import Trap, World
from curate.doctor import examine
from curate.progress import QUIET
from curate.project import open_project
from curate.status import status
from db.errors import ConfigError
from tests import prepare

QUERIES = {"Stratocaster": ("stratocaster", "strat body"), "FlyingV": ("flying v",)}
SMALL = Scale(rounds=2, batch=52, collect=12, originals=12, held_out=1, target=8, validation=2, epochs=1, size=32)


def test_the_world_is_a_function_of_its_seed() -> None:
    """The same seed shows the same files, another one others; and every trap is there."""
    one, same, other = (World(seed, QUERIES, 4) for seed in (1, 1, 2))
    assert {work.trap for work in one.works.values()} == set(Trap)
    for path, work in one.works.items():
        assert one.file(work) == same.file(same.works[path])
    assert any(one.file(work) != other.file(other.works[path]) for path, work in one.works.items())


def test_a_demo_that_was_stopped_is_not_said_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It takes a new folder only, so that the same command again would be refused."""

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(story, "demo", stopped)
    assert run(["demo", str(tmp_path / "new")]) == 130
    assert capfd.readouterr().err == "curate: stopped; a demo begins anew: name another folder, or remove this one\n"


def test_held_out_drawings_are_in_no_search() -> None:
    """What rounds are measured on cannot be crawled."""
    world = World(1, QUERIES, 4)
    served = {world.file(work) for work in world.works.values()}
    assert not served & {data for _, data in world.held_out(5)}


def test_a_query_shows_its_class_page_by_page() -> None:
    """Queries of a class overlap and differ; none shows a file twice."""
    world = World(1, QUERIES, 20)
    with serve(world) as url:
        shown = {}
        for query in QUERIES["Stratocaster"]:
            pages = [world.search(query, page, url) for page in (1, 2, 3)]
            shown[query] = [work["url"] for page in pages for work in page["results"]]
            assert len(set(shown[query])) == len(shown[query]) == pages[0]["result_count"]
    first, second = (set(urls) for urls in shown.values())
    assert first & second
    assert first - second


def test_a_visitor_that_hangs_up_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    """A crawler breaks off what it has no use for; nobody is shown a traceback for it."""
    before = threading.active_count()
    with serve(World(1, QUERIES, 2)) as url:
        with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0)) as connection:
            connection.sendall(b"GET /rob")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, not close
        assert httpx.get(f"{url}/robots.txt", trust_env=False).is_success
    deadline = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert capfd.readouterr().err == ""


@pytest.mark.long
def test_the_demo_carries_the_loop_through_twice(tmp_path: Path) -> None:
    """Crawl, copies, labels, split, training, pre-labels and the next batch, with real parts, and a clean end."""
    report = demo(tmp_path / "demo", 5, prepare.cache(), QUIET, SMALL)
    assert [done.round for done in report.rounds] == [1, 2]
    assert [done.labelled for done in report.rounds] == [52, 104]
    assert report.rounds[0].prelabels_accepted is None
    assert report.rounds[1].prelabels_accepted is not None
    assert report.held_out == 13
    assert all(0 <= done.validation_accuracy <= 1 for done in report.rounds)
    crawled = report.crawl
    assert crawled.found == crawled.stored + crawled.duplicates + crawled.known + crawled.failed.total()
    assert set(crawled.failed) >= {"corrupt", "not_an_image", "http_4xx"}
    assert report.duplicates > 0
    project = open_project(tmp_path / "demo")
    assert examine(project, repair=False) == []
    found = status(project)
    assert sum(counts.labelled for counts in found.classes.values()) == 104
    assert len(found.runs) == 2
    project.database.close()


def test_the_demo_wants_a_new_folder(tmp_path: Path) -> None:
    """What lies in a folder already is left alone."""
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        demo(tmp_path, 5, prepare.cache(), QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
