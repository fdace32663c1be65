"""Pages: whole in one file, escaped, and honest about what they show."""

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sqlalchemy import select

from curate.dedup import word
from curate.dedup.search import dedup
from curate.dedup.standing import DedupReport, standing
from curate.ingest.folder import import_folder
from curate.pages import duplicates, thumbnails
from curate.pages.duplicates import write_duplicates
from curate.pages.pictures import Picture as Shown
from curate.pages.pictures import pictures
from curate.pages.thumbnails import Thumbnails
from curate.project import Project
from db.errors import StoreError
from db.files import TEMPORARY
from db.models import PERSON, DuplicatePair, Image
from tests.conftest import Cli
from tests.pictures import encoded, picture

NASTY = "<img src=x onerror=alert(1)>.jpg"
CLASSES = ("Red", "<b>\"Gr&een'")


@pytest.fixture
def filled(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """Three groups, one of whose labels differ, and a near miss; names and classes look like markup."""
    project = make_project(*CLASSES, dedup__descriptor='"none"')
    folder = tmp_path / "in"
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
    for seed, label in ((1, 1), (2, 0), (3, 0)):
        large = picture(seed, (600, 450))
        (folder / CLASSES[0] / f"{seed}.jpg").write_bytes(encoded(large, quality=92))
        name = NASTY if seed == 1 else f"{seed}-small.jpg"
        (folder / CLASSES[label] / name).write_bytes(encoded(large.resize((300, 225)), quality=85))
    (folder / CLASSES[0] / "4.jpg").write_bytes(encoded(picture(4, (600, 450))))
    import_folder(project, folder, labels=True)
    dedup(project)
    assert len(stands(project).groups) == 3
    nearly(project, "3.jpg", "4.jpg", 0.876)
    return project


def stands(project: Project) -> DedupReport:
    """Groups as they are now."""
    with project.database.read() as session:
        return standing(session)


def numbers(project: Project) -> dict[str, int]:
    """Images by their names."""
    with project.database.read() as session:
        return {p.name: p.id for p in pictures(session, session.scalars(select(Image.id))).values()}


def nearly(project: Project, first: str, second: str, score: float) -> None:
    """Record that a search found two images to be nearly the same."""
    low, high = sorted(numbers(project)[name] for name in (first, second))
    with project.database.write() as session:
        method = session.scalars(select(DuplicatePair.verifier).where(DuplicatePair.verifier != PERSON)).first()
        assert method is not None
        pair = DuplicatePair(low_id=low, high_id=high, score=score, reason="laid over each other, the detail differs")
        pair.distance, pair.verifier, pair.same = 5, method, False
        session.merge(pair)


class Read(HTMLParser):
    """What is in a page: its tags with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.tags.append((tag, {key: value or "" for key, value in attrs}))

    def handle_data(self, data: str) -> None:
        """Keep text."""
        self.text += data

    def all(self, attribute: str) -> list[str]:
        """Every value of an attribute."""
        return [found[attribute] for _, found in self.tags if attribute in found]


def written(project: Project) -> Read:
    """The page as it stands."""
    return Read(write_duplicates(project, project.root / "page.html").file.read_text(encoding="utf-8"))


def test_a_page_asks_nobody_for_anything(filled: Project) -> None:
    """Pictures, style and script are inside, and a policy forbids the browser everything else."""
    page = written(filled)
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.all("src"))
    assert all(address.startswith(("#", "data:")) for address in page.all("href"))
    assert not {"style", "onclick", "onload", "srcset", "action"} & {key for _, found in page.tags for key in found}
    (policy,) = (found["content"] for _, found in page.tags if "http-equiv" in found)
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert "unsafe" not in policy
    assert "http:" not in policy
    assert not re.search(r"https?://|@import|url\(", write_duplicates(filled, filled.root / "p.html").file.read_text())


def test_names_are_text_and_never_markup(filled: Project) -> None:
    """File names and classes that look like HTML are shown as they are, in text and in attributes."""
    page = written(filled)
    assert NASTY in page.text
    assert CLASSES[1] in page.text
    assert NASTY in page.all("alt")
    assert not [found for tag, found in page.tags if tag == "b" or "onerror" in found]
    assert [found for tag, found in page.tags if tag == "img" and found.get("src") == "x"] == []


def test_groups_stand_with_keeper_evidence_and_command(filled: Project) -> None:
    """Each has its keeper, the score and reason of every other, and what takes it apart; the least sure is first."""
    page = written(filled)
    report = stands(filled)
    for group in report.groups:
        assert f"Group {group.group}" in page.text
        assert f"curate dedup --split {group.group}" in page.all("data-copy")
    assert page.text.count("keeper") >= len(report.groups)
    with filled.database.read() as session:
        pairs = session.scalars(select(DuplicatePair).where(DuplicatePair.same)).all()
        for pair in pairs:
            assert f"{pair.score:.3f}" in page.text
            assert pair.reason in page.text
            assert f"{pair.distance} of 64 hash bits differ" in page.text
        cards = duplicates._groups(session, report.groups)
    assert [card.sure for card in cards] == sorted(pair.score for pair in pairs)
    shown = [int(n) for n in re.findall(r"curate dedup --split (\d+)", " ".join(page.all("data-copy")))]
    assert shown == [card.number for card in cards]
    assert "600 \N{MULTIPLICATION SIGN} 450 JPEG" in page.text


def test_labels_that_differ_are_a_conflict(filled: Project) -> None:
    """It says which they are, and that the group is left out."""
    labels = ", ".join(sorted(CLASSES))
    assert f"The labels of these copies differ ({labels}): the group is left out" in written(filled).text


def test_near_misses_stand_with_the_command_that_joins_them(filled: Project) -> None:
    """One of two groups is enough; what a person settled is no longer among them, but under what people said."""
    known = numbers(filled)
    nearly(filled, "3-small.jpg", "4.jpg", 0.861)
    low, high = sorted((known["3.jpg"], known["4.jpg"]))
    join = f"curate dedup --join {low} {high}"
    report = write_duplicates(filled, filled.root / "page.html")
    assert (report.groups, report.near_misses, report.said) == (3, 1, 0)
    page = written(filled)
    assert "0.876" in page.text
    assert "0.861" not in page.text
    assert page.all("data-copy").count(join) == 1
    group = word.join(filled, str(low), str(high))
    (apart,) = word.take_apart(filled, group)
    report = write_duplicates(filled, filled.root / "page.html")
    assert (report.groups, report.near_misses, report.said) == (2, 0, len(apart))
    assert join in written(filled).all("data-copy")
    assert "told apart by a person" in written(filled).text


def test_a_long_list_is_cut_and_says_so(filled: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The most alike are shown, and how many more there are."""
    nearly(filled, "2.jpg", "4.jpg", 0.9)
    monkeypatch.setattr(duplicates, "_MOST_PAIRS", 1)
    text = written(filled).text
    assert "0.900" in text
    assert "0.876" not in text
    assert "… and 1 more" in text


@pytest.mark.parametrize("left", [None, 0, 300])
def test_a_damaged_file_has_a_place_that_says_so(filled: Project, left: int | None) -> None:
    """Gone, empty or cut, one file costs its own picture and no other."""
    with filled.database.read() as session:
        image = session.get_one(Image, numbers(filled)["2.jpg"])
        path = filled.store.path(image.sha256, image.format)
    whole = len([tag for tag, found in written(filled).tags if tag == "img" and "src" in found])
    if left is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:left])
    page = written(filled)
    assert len([tag for tag, found in page.tags if tag == "img" and "src" in found]) == whole - 1
    assert page.text.count("This file is damaged or gone.") == 1
    assert "2.jpg" in page.text


def test_thumbnails_stay_in_order_and_few_are_made_ahead(filled: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, only some wait in memory."""
    monkeypatch.setattr(thumbnails, "_AHEAD", 4)
    with filled.database.read() as session:
        known = list(pictures(session, session.scalars(select(Image.id))).values())
    taken = 0

    def many() -> Iterator[list[Shown]]:
        nonlocal taken
        for taken in range(1, 101):
            yield [known[taken % len(known)]]

    counted: list[int] = []
    for number, (item, addresses) in enumerate(
        Thumbnails(filled.store, 32).along(many(), lambda item: item, counted.append), start=1
    ):
        assert item == [known[number % len(known)]]
        assert (addresses[item[0].id] or "").startswith("data:image/jpeg;base64,")
        assert taken - number <= 5
    assert sum(counted) == 100


def test_many_images_get_small_thumbnails() -> None:
    """A page of ten thousand can still be opened."""
    assert (thumbnails.side_for(100), thumbnails.side_for(10_000)) == (320, 160)


def test_a_page_is_written_whole_or_not_at_all(filled: Project, tmp_path: Path) -> None:
    """Where it cannot be written the old page stays, nothing is left beside it, and the error names the file."""
    target = tmp_path / "pages" / "page.html"
    write_duplicates(filled, target)
    before = target.read_bytes()
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file" / "page.html", tmp_path / "pages"):
        with pytest.raises(StoreError, match=f"cannot write {path}"):
            write_duplicates(filled, path)
    assert target.read_bytes() == before
    assert [path for path in tmp_path.rglob("*") if path.name.startswith(TEMPORARY)] == []


def test_the_command_writes_the_page(filled: Project, cli: Cli, tmp_path: Path) -> None:
    """Into the project unless told where; the JSON has all that a search tells, and the page."""
    found = cli("dedup", "--review", "--json", cwd=filled.root, check=True).json
    assert found["page"] == str(filled.root / "duplicates.html")
    assert {"descriptor", "images", "groups"} <= set(found)
    ran = cli("dedup", "--review", "-o", "here.html", "--project", filled.root, cwd=tmp_path, check=True)
    assert str(tmp_path / "here.html") in ran.out
    assert (tmp_path / "here.html").read_text().startswith("<!doctype html>")
