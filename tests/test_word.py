"""A person's word on duplicates: it is respected by every search that follows."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as Picture
from sqlalchemy import select

from curate.dedup import word
from curate.dedup.search import dedup
from curate.dedup.standing import DedupReport, standing
from curate.edit import set_value
from curate.ingest.folder import import_folder
from curate.project import Project, open_project
from db.errors import DatasetError
from db.models import PERSON, DuplicatePair, Image, Sighting
from tests.conftest import Cli
from tests.pictures import encoded, picture


def take(project: Project, folder: Path, files: dict[str, bytes]) -> None:
    """Import files by their names."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    import_folder(project, folder, labels=False)


def copy(seed: int, width: int, quality: int = 90) -> bytes:
    """A copy of a picture, `width` pixels wide."""
    large = picture(seed, (600, 450))
    return encoded(large.resize((width, width * 3 // 4), Picture.Resampling.LANCZOS), quality=quality)


def ids(project: Project) -> dict[str, int]:
    """Images by their names."""
    with project.database.read() as session:
        return {name: number for name, number in session.execute(select(Sighting.name, Sighting.image_id)) if number}


def stands(project: Project) -> DedupReport:
    """Groups as they are now."""
    with project.database.read() as session:
        return standing(session)


def grouped(project: Project) -> list[list[str]]:
    """Groups as they stand, by names."""
    return sorted(sorted(member.name for member in group.members) for group in stands(project).groups)


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """A project that needs no network's weights."""
    return make_project(dedup__descriptor='"none"')


@pytest.fixture
def filled(project: Project, tmp_path: Path) -> Project:
    """Two pairs of copies and a picture of its own, searched."""
    files = {"1-a.jpg": copy(1, 600), "1-b.jpg": copy(1, 300), "2-a.jpg": copy(2, 600), "2-b.jpg": copy(2, 300)}
    take(project, tmp_path / "in", files | {"3.jpg": copy(3, 600)})
    dedup(project)
    assert grouped(project) == [["1-a.jpg", "1-b.jpg"], ["2-a.jpg", "2-b.jpg"]]
    return project


def number_of(project: Project, name: str) -> int:
    """The group of an image."""
    (found,) = (g.group for g in stands(project).groups if name in {member.name for member in g.members})
    return found


def under_other_settings(project: Project) -> None:
    """Compare everything anew, since a key has changed."""
    set_value(project.root / "curate.toml", "dedup.likeness", "0.6")
    changed = open_project(project.root)
    report = dedup(changed)
    changed.database.close()
    assert report.proposed > 0


def test_a_group_taken_apart_stays_so(filled: Project) -> None:
    """Its images stand for themselves at once, after the next search, and after one under other settings."""
    apart = word.take_apart(filled, number_of(filled, "1-a.jpg"))
    assert apart == [[ids(filled)["1-a.jpg"], ids(filled)["1-b.jpg"]]]
    for search in (lambda _: None, dedup, under_other_settings):
        search(filled)
        assert grouped(filled) == [["2-a.jpg", "2-b.jpg"]]
    with filled.database.read() as session:
        numbers = [ids(filled)[name] for name in ("1-a.jpg", "1-b.jpg")]
        keepers = session.scalars(select(Image.is_keeper).where(Image.id.in_(numbers))).all()
    assert keepers == [True, True]


def test_images_joined_stay_so(filled: Project) -> None:
    """What no search would find together is one group, with one keeper, whatever search follows."""
    word.join(filled, *(str(ids(filled)[name]) for name in ("3.jpg", "1-b.jpg")))
    for search in (lambda _: None, dedup, under_other_settings):
        search(filled)
        assert grouped(filled) == [["1-a.jpg", "1-b.jpg", "3.jpg"], ["2-a.jpg", "2-b.jpg"]]


def test_two_groups_are_joined_whole(filled: Project) -> None:
    """One pair of them brings all their images together, and the older number stays."""
    first, second = number_of(filled, "1-a.jpg"), number_of(filled, "2-a.jpg")
    group = word.join(filled, *(str(ids(filled)[name]) for name in ("1-b.jpg", "2-b.jpg")))
    assert group == min(first, second)
    assert grouped(filled) == [["1-a.jpg", "1-b.jpg", "2-a.jpg", "2-b.jpg"]]
    under_other_settings(filled)
    assert grouped(filled) == [["1-a.jpg", "1-b.jpg", "2-a.jpg", "2-b.jpg"]]


def test_the_latest_word_counts(filled: Project) -> None:
    """What was told apart can be joined again, and the other way round."""
    pair = [str(ids(filled)[name]) for name in ("1-a.jpg", "1-b.jpg")]
    for _ in range(2):
        word.take_apart(filled, number_of(filled, "1-a.jpg"))
        assert grouped(filled) == [["2-a.jpg", "2-b.jpg"]]
        word.join(filled, *pair)
        assert grouped(filled) == [["1-a.jpg", "1-b.jpg"], ["2-a.jpg", "2-b.jpg"]]
    under_other_settings(filled)
    assert grouped(filled) == [["1-a.jpg", "1-b.jpg"], ["2-a.jpg", "2-b.jpg"]]


def test_a_copy_of_both_does_not_bring_them_together(filled: Project, tmp_path: Path) -> None:
    """Two images told apart share no group, though a third that comes later is a copy of each: it goes with one."""
    word.take_apart(filled, number_of(filled, "1-a.jpg"))
    take(filled, tmp_path / "later", {"1-c.jpg": copy(1, 450)})
    for search in (dedup, under_other_settings):
        search(filled)
        (found,) = (group for group in grouped(filled) if "1-c.jpg" in group)
        assert len(found) == 2
        assert found[0] in {"1-a.jpg", "1-b.jpg"}
    with filled.database.read() as session:
        third = ids(filled)["1-c.jpg"]
        copies = select(DuplicatePair).where(DuplicatePair.same, DuplicatePair.high_id == third)
        assert len(session.scalars(copies).all()) == 2


def test_joining_takes_back_what_was_said_of_the_groups(filled: Project) -> None:
    """Whoever joins two groups wants all of both together, also the two that were once told apart."""
    known = ids(filled)
    word.join(filled, str(known["1-a.jpg"]), str(known["3.jpg"]))
    word.take_apart(filled, number_of(filled, "3.jpg"))
    word.join(filled, str(known["1-a.jpg"]), str(known["1-b.jpg"]))
    word.join(filled, str(known["3.jpg"]), str(known["1-b.jpg"]))
    assert grouped(filled) == [["1-a.jpg", "1-b.jpg", "3.jpg"], ["2-a.jpg", "2-b.jpg"]]


def test_copies_of_a_forgotten_image_stay_together(filled: Project, cli: Cli) -> None:
    """They are one photograph though it was never said of the two: each was joined to the one that is gone."""
    known = ids(filled)
    word.join(filled, str(known["3.jpg"]), str(known["1-a.jpg"]))
    word.join(filled, str(known["3.jpg"]), str(known["2-a.jpg"]))
    number = number_of(filled, "3.jpg")
    cli("forget", known["3.jpg"], cwd=filled.root, check=True)
    expected = ["1-a.jpg", "1-b.jpg", "2-a.jpg", "2-b.jpg"]
    assert (grouped(filled), number_of(filled, "1-a.jpg")) == ([expected], number)
    under_other_settings(filled)
    assert grouped(filled) == [expected]
    cli("forget", known["1-a.jpg"], cwd=filled.root, check=True)
    assert grouped(filled) == [expected[1:]]


def test_all_groups_named_or_none(filled: Project) -> None:
    """One that is not there leaves the others as they are."""
    before = grouped(filled)
    with pytest.raises(DatasetError, match="no group 77"):
        word.take_apart(filled, number_of(filled, "1-a.jpg"), 77)
    assert grouped(filled) == before
    word.take_apart(filled, *(group.group for group in stands(filled).groups))
    assert grouped(filled) == []


def test_what_cannot_be_said_is_told_in_one_line(filled: Project, cli: Cli) -> None:
    """An unknown group, no image, one image twice, a forgotten image: exit code 2, and nothing is changed."""
    known = ids(filled)
    cli("forget", known["2-b.jpg"], cwd=filled.root, check=True)
    before = grouped(filled)
    one, other, gone = (known[name] for name in ("1-a.jpg", "3.jpg", "2-b.jpg"))
    asked = {
        ("--split", "77"): "no group 77",
        ("--join", one, "999"): "no image '999'",
        ("--join", one, one): "one and the same image",
        ("--join", other, gone): f"image {gone} is forgotten",
        ("-o", "page.html"): "--review",
    }
    for arguments, words in asked.items():
        ran = cli("dedup", *arguments, cwd=filled.root)
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), ran
        assert words in ran.err
    assert grouped(filled) == before


def test_words_are_recorded_without_a_search(filled: Project, cli: Cli, tmp_path: Path) -> None:
    """The groups are told as they stand; what is new is left for the next search."""
    take(filled, tmp_path / "later", {"3-b.jpg": copy(3, 300)})
    known = ids(filled)
    words = ("--split", number_of(filled, "1-a.jpg"), "--join", known["2-a.jpg"], known["3.jpg"])
    found = cli("dedup", *words, "--json", cwd=filled.root, check=True).json
    assert (found["images"], found["proposed"], found["descriptor"]) == (6, 0, "none")
    (group,) = found["groups"]
    assert sorted(member["name"] for member in group["members"]) == ["2-a.jpg", "2-b.jpg", "3.jpg"]
    assert {"group", "keeper", "members"} <= set(group)
    told = cli("dedup", "--split", group["group"], "--split", group["group"], cwd=filled.root, check=True).out
    assert told.startswith("6 images: 0 groups")
    (group,) = cli("dedup", "--json", cwd=filled.root, check=True).json["groups"]
    assert [member["name"] for member in group["members"]] == ["3.jpg", "3-b.jpg"]


@pytest.mark.parametrize("moment", ["commit.before", "commit.after"])
@pytest.mark.parametrize("said", ["split", "join"])
def test_a_kill_loses_nothing(project: Project, cli: Cli, tmp_path: Path, moment: str, said: str) -> None:
    """A word is recorded with the groups that follow from it, or not at all; said again, it holds."""
    take(project, tmp_path / "in", {"1-a.jpg": copy(1, 600), "1-b.jpg": copy(1, 300), "3.jpg": copy(3, 600)})
    dedup(project)
    known = ids(project)
    group = number_of(project, "1-a.jpg")
    arguments = ("--split", group) if said == "split" else ("--join", known["1-a.jpg"], known["3.jpg"])
    wanted = [] if said == "split" else [["1-a.jpg", "1-b.jpg", "3.jpg"]]
    killed = cli("dedup", *arguments, cwd=project.root, env={"CURATE_FAULT": moment})
    assert killed.code == -9
    recorded = moment == "commit.after"
    with project.database.read() as session:
        by_person = session.scalars(select(DuplicatePair).where(DuplicatePair.verifier == PERSON)).all()
    assert bool(by_person) == recorded
    assert grouped(project) == (wanted if recorded else [["1-a.jpg", "1-b.jpg"]])
    again = cli("dedup", *arguments, cwd=project.root)
    assert again.code == (2 if recorded and said == "split" else 0)
    dedup(project)
    assert grouped(project) == wanted
