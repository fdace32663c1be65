"""Short classes back to the crawler: what queries bring, what is asked again and in which order, and no network."""

import io
from collections.abc import Callable, Iterator
from typing import Self

import pytest
from rich.console import Console
from sqlalchemy import select

from curate.cli import show_crawl
from curate.crawl import fetch
from curate.crawl.account import Account, Yield
from curate.crawl.crawl import crawl
from curate.crawl.plan import targets
from curate.crawl.refill import refill
from curate.crawl.returns import Returns, beforehand, returns
from curate.crawl.shortage import Shortage, shortages
from curate.crawl.sources import Credentials, make
from curate.project import Project, open_project
from db.labels import Answer, record
from db.models import (
    AnnotationOrigin,
    AnnotationState,
    Image,
    Other,
    Prediction,
    Run,
    RunState,
    Search,
    Sighting,
    Snapshot,
)
from db.models.base import now
from tests.conftest import Cli
from tests.test_crawl import put_pictures, put_works
from tests.web import Web

GOOD, POOR = "jaguar guitar", "jaguar"


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back off for milliseconds."""
    monkeypatch.setattr(fetch, "_FIRST_BACKOFF_SECONDS", 0.01)


@pytest.fixture
def project(make_project: Callable[..., Project], web: Web) -> Iterator[Project]:
    """Two classes that want 50 labels each; one has two queries."""
    made = make_project(
        "Red",
        "Green",
        dataset__target="50",
        dataset__validation="10",
        crawl__allow_private_addresses="true",
        crawl__openverse__url=f'"{web.url}"',
        crawl__sources='["openverse"]',
    )
    made.database.close()
    file = made.root / "curate.toml"
    file.write_text(file.read_text().replace('name = "Red"\n', f'name = "Red"\nqueries = ["{POOR}", "{GOOD}"]\n'))
    found = open_project(made.root)
    yield found
    found.database.close()


class Heard:
    """Progress that keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        """Keep a line."""
        self.lines.append(message)

    def advance(self, steps: int = 1) -> None:
        """Count nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def task(self, name: str, total: int | None, unit: str) -> "Heard":  # noqa: ARG002 - the protocol's signature
        """Begin nothing."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def collect(project: Project, name: str, most: int) -> None:
    """Crawl as the command does."""
    finders = [make("openverse", project.settings.crawl, Credentials())]
    crawl(project, targets(project, [name], ["openverse"], most), finders)


def say(project: Project, said: Callable[[str], str | None]) -> None:
    """Label each image by the query that found it first: a class, `none` for none of these, None for no answer."""
    with project.database.write() as session:
        classes = project.classes(session)
        rows = session.execute(
            select(Sighting.image_id, Sighting.query).where(Sighting.image_id.is_not(None)).order_by(Sighting.id)
        )
        answers = []
        for image, query in dict(reversed(rows.all())).items():
            label = said(query)
            if label is not None and image is not None:
                other = Other.NONE if label == "none" else None
                answers.append(
                    Answer(
                        f"import {image}",
                        AnnotationOrigin.IMPORT,
                        image,
                        AnnotationState.ACTIVE,
                        classes.get(label),
                        now(),
                        other,
                    )
                )
        record(session, answers)


def test_returns_count_what_people_say(project: Project, web: Web) -> None:
    """Of each query and source: images, those that were labelled, and the classes; what is of no class counts too."""
    put_works(web, {GOOD: put_pictures(web, 1, 2, 3), POOR: put_pictures(web, 3, 4, 5), "Green": put_pictures(web, 6)})
    collect(project, "red", 9)
    collect(project, "green", 9)
    say(project, {GOOD: "Red", POOR: "none"}.get)
    with project.database.read() as session:
        found = {one.query: one for one in returns(session)}
    assert found[GOOD].collected_for == found[POOR].collected_for == "Red"
    assert (found["Green"].images, found["Green"].labelled, found["Green"].of("Green").value) == (1, 0, None)
    for query in (GOOD, POOR):
        assert (found[query].images, found[query].labelled) == (3, 3)
    # Both show image 3, which counts for each of them.
    assert found[GOOD].of("Red").hits + found[POOR].of("Red").hits in {2 + 0, 3 + 1}


def test_little_is_drawn_towards_what_is_usual() -> None:
    """A query without labels is worth what the class's queries are; many labels speak for themselves."""
    some = Returns("openverse", "a", "Red", 200, 100, {"Red": 80})
    new = Returns("openverse", "b", "Red", 0, 0, {})
    usual = beforehand([some, new], "Red", ["a", "b"])
    assert usual == 81 / 102
    assert new.expected("Red", usual) == usual
    assert some.expected("Red", 0.2) == pytest.approx(81 / 105)


def only(project: Project, name: str = "Red") -> Shortage:
    """The shortage of a class."""
    (found,) = [one for one in shortages(project, ["openverse", "urls=x"]) if one.name == name]
    return found


def test_queries_are_asked_by_what_they_bring(project: Project, web: Web) -> None:
    """The better one first; the images wanted make up for those that will be of something else."""
    put_works(web, {GOOD: put_pictures(web, *range(20)), POOR: put_pictures(web, *range(20, 40))})
    collect(project, "red", 40)
    assert [one.query for one in only(project).queries] == [POOR, GOOD]
    # Nothing is labelled yet: half of what was collected for it is expected to be of it.
    assert only(project).expected == 20
    numbers = iter(range(99))
    say(project, lambda query: "Red" if query == GOOD else ("Red" if next(numbers) % 4 == 0 else "none"))
    short = only(project)
    assert [(one.source, one.query) for one in short.queries] == [("openverse", GOOD), ("openverse", POOR)]
    assert (short.lacks, short.expected, short.dropped) == (25, 0, [])
    assert 25 < short.want < 40


def test_a_query_that_brings_nothing_is_dropped(project: Project, web: Web) -> None:
    """Not after a few images, but once its share is surely small; it is said why, and not asked again, yet stays."""
    put_works(web, {GOOD: put_pictures(web, *range(5)), POOR: put_pictures(web, *range(100, 130))})
    collect(project, "red", 40)
    say(project, {GOOD: "Red", POOR: "none"}.get)
    assert len(only(project).queries) == 2
    put_works(web, {GOOD: put_pictures(web, *range(9)), POOR: put_pictures(web, *range(144, 99, -1))})
    collect(project, "red", 60)
    say(project, {GOOD: "Red", POOR: "none"}.get)
    (dropped,) = only(project).dropped
    assert (dropped.query, dropped.accepted, dropped.labelled) == (POOR, 0, 45)
    with project.database.read() as session:
        pages = session.scalars(select(Search.pages).where(Search.query == POOR)).one()
    put_works(web, {GOOD: put_pictures(web, *range(12)), POOR: put_pictures(web, *range(200, 260))})
    heard = Heard()
    assert refill(project, heard)["Red"] == 3
    assert any(f"openverse {POOR!r} is left out: 0 of 45 labelled are Red" in line for line in heard.lines)
    with project.database.read() as session:
        search = session.scalars(select(Search).where(Search.query == POOR)).one()
        assert (search.pages, search.target) == (pages, f"class:{project.classes(session)['Red']}")


def test_what_waits_of_a_query_that_is_left_out_is_left_too(project: Project, web: Web) -> None:
    """It would be fetched before what the others bring; a crawl by hand takes it up all the same."""
    put_works(web, {GOOD: [], POOR: put_pictures(web, *range(100, 160))})
    web.pages["/100.jpg"].status = 500
    collect(project, "red", 45)
    say(project, {POOR: "none"}.get)
    put_works(web, {GOOD: put_pictures(web, *range(3)), POOR: []})
    put_pictures(web, 100)
    web.asked.clear()
    assert refill(project, Heard())["Red"] == 3
    assert web.asked["/100.jpg"] + web.asked["/150.jpg"] == 0
    collect(project, "red", 60)
    assert (web.asked["/100.jpg"], web.asked["/150.jpg"]) == (1, 1)


def test_a_class_whose_candidates_suffice_is_not_crawled(project: Project, web: Web) -> None:
    """What the best run takes for it counts, by its probabilities, not the query that found it."""
    put_works(web, {GOOD: put_pictures(web, *range(60)), POOR: []})
    collect(project, "red", 60)
    with project.database.write() as session:
        snapshot = Snapshot(content_sha256="0" * 64, seed=1, target=2, validation=1, classes=["Red", "Green"])
        session.add(snapshot)
        session.flush()
        facts = {"arch": "small", "options": {}, "classes": ["Red", "Green"]}
        run = Run(name="r", snapshot_id=snapshot.id, state=RunState.FINISHED, validation_accuracy=0.5, **facts)
        session.add(run)
        session.flush()
        for place, image in enumerate(session.scalars(select(Image.id)).all()):
            says = {"class_index": 1, "score": 0.9, "outside": place < 4, "probabilities": [0.1, 0.9]}
            session.add(Prediction(run_id=run.id, image_id=image, **says))
    found = {one.name: one.expected for one in shortages(project, ["openverse"])}
    assert set(found) == {"Red"}
    assert found["Red"] == pytest.approx(5.6)


def test_another_classes_query_is_asked_where_it_brings_more(project: Project, web: Web) -> None:
    """What was made for Green and shows Red mostly is asked for Red, before Red's own that bring little."""
    put_works(web, {GOOD: put_pictures(web, *range(10)), POOR: [], "Green": put_pictures(web, *range(50, 70))})
    collect(project, "red", 10)
    collect(project, "green", 20)
    numbers = iter(range(99))
    say(project, lambda query: "Red" if query == "Green" or next(numbers) % 4 == 0 else "none")
    assert only(project).queries[0].query == "Green"


def test_no_network_is_one_line_and_no_error(project: Project, web: Web) -> None:
    """A source that cannot be reached, or has changed, costs a line; nothing was stored and nothing raised."""
    del web
    heard = Heard()
    assert refill(project, heard) == {"Red": 0, "Green": 0}
    (line,) = heard.lines
    assert line.startswith("nothing was crawled for Green, Red (openverse: ")
    assert line.endswith("going on without")


def test_settings_that_allow_no_crawl_are_one_line(make_project: Callable[..., Project]) -> None:
    """A source that wants a key which is not there stops a crawl, and no loop."""
    heard = Heard()
    project = make_project("Red", "Green", crawl__sources='["flickr"]')
    assert refill(project, heard) == {}
    (line,) = heard.lines
    assert line.startswith("nothing was crawled: flickr wants an API key")


def test_the_status_of_a_crawl_tells_what_queries_bring(project: Project, web: Web, cli: Cli) -> None:
    """`status --crawl` has images, labels and share of each query, and what the short classes lack."""
    put_works(web, {GOOD: put_pictures(web, *range(8)), POOR: put_pictures(web, *range(20, 28))})
    collect(project, "red", 16)
    say(project, {GOOD: "Red"}.get)
    project.database.close()
    found = cli("status", "--crawl", "--json", cwd=project.root, check=True).json
    by_query = {one["query"]: one for one in found["queries"]}
    good, poor = by_query[GOOD], by_query[POOR]
    assert (good["class"], good["images"], good["labelled"], good["classes"]) == ("Red", 8, 8, {"Red": 8})
    assert good["share"]["value"] == 1
    assert (poor["labelled"], poor["share"]["value"]) == (0, None)
    assert [(one["name"], one["lacks"]) for one in found["short"]] == [("Green", 50), ("Red", 42)]
    shown = cli("status", "--crawl", cwd=project.root, check=True).out
    assert "Red 1.00 (0.68 to 1.00)" in shown
    assert f"{GOOD} (openverse)" in shown


def test_of_many_queries_those_that_brought_most_are_shown() -> None:
    """A preset of 13 classes has hundreds; the others are counted."""
    console = Console(width=100, file=io.StringIO(), record=True)
    queries = [Yield("openverse", f"query {number}", 1, 20, 100 - number, open=False) for number in range(23)]
    console.print(show_crawl.account(Account(queries=queries)))
    shown = console.export_text()
    assert "query 19 " in shown
    assert "query 20 " not in shown
    assert "and 3 more queries" in shown
