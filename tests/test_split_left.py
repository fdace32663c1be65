"""Validation loses no image without a word: which one, of which class, and why."""

from collections.abc import Callable
from pathlib import Path

import pytest

from curate.dedup.search import dedup
from curate.dedup.word import join
from curate.edit import set_value
from curate.ingest.folder import import_folder
from curate.project import Project, open_project
from curate.split import Gone, Left, split
from db.labels import Answer, record, settle
from db.models import Annotation, AnnotationOrigin, AnnotationState, Image, ImageState, Side
from db.models.base import now
from tests.conftest import Cli
from tests.pictures import encoded, picture, write_folder
from tests.test_split import sides


@pytest.fixture
def filled(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """Ten pictures of each of two classes; eight are wanted, two of them to validate on."""
    project = make_project("Red", "Green", dataset__target="8", dataset__validation="2")
    import_folder(project, write_folder(tmp_path / "in", {"Red": range(10), "Green": range(10)}), labels=True)
    return project


def held_out(project: Project, snapshot: int) -> list[int]:
    """What a snapshot validates on, those of Red first: they were imported first or last, as the disk lists them."""
    with project.database.read() as session:
        ids = project.classes(session)
        found = [number for number, side in sides(project, snapshot).items() if side is Side.VALIDATION]
        labels = {a.image_id: a.class_id for a in session.query(Annotation)}
    return sorted(found, key=lambda number: labels[number] != ids["Red"])


def say(project: Project, number: int, name: str) -> None:
    """A person labels an image."""
    with project.database.write() as session:
        ids = project.classes(session)
        answer = Answer(
            f"t:{number}", AnnotationOrigin.LABEL_STUDIO, number, AnnotationState.ACTIVE, ids[name], answered_at=now()
        )
        record(session, [answer])


def set_state(project: Project, number: int, state: ImageState) -> None:
    """What a quality check and `curate forget` do to the row."""
    with project.database.write() as session:
        session.get_one(Image, number).state = state


def withdraw(project: Project, number: int) -> None:
    """The label of an image is deleted."""
    with project.database.write() as session:
        for annotation in session.query(Annotation).filter(Annotation.image_id == number):
            annotation.state = AnnotationState.DELETED
        session.flush()
        settle(session, [number])


def test_nothing_is_said_where_nothing_left(filled: Project, tmp_path: Path) -> None:
    """Neither of the first split nor of one with more images."""
    assert split(filled).left == []
    import_folder(filled, write_folder(tmp_path / "more", {"Red": range(50, 55)}), labels=True)
    assert split(filled).left == []


@pytest.mark.parametrize(
    ("what", "reason", "detail"),
    [
        (lambda project, number: set_state(project, number, ImageState.FORGOTTEN), Gone.FORGOTTEN, ""),
        (lambda project, number: set_state(project, number, ImageState.SET_ASIDE), Gone.SET_ASIDE, ""),
        (lambda project, number: say(project, number, "Green"), Gone.RELABELLED, "Green"),
        (withdraw, Gone.UNLABELLED, ""),
    ],
    ids=["forgotten", "set aside", "relabelled", "unlabelled"],
)
def test_what_left_is_named(filled: Project, what: Callable[[Project, int], None], reason: Gone, detail: str) -> None:
    """An image that can no longer be validated on as its class is listed, and no other; split again says the same."""
    gone, *others = held_out(filled, split(filled).snapshot)
    what(filled, gone)
    report = split(filled)
    assert report.left == [Left(gone, "Red", reason, detail)]
    assert split(filled) == report
    assert set(others) <= set(held_out(filled, report.snapshot))
    assert [c.validation for c in report.classes.values()] == [2, 2]


def test_a_copy_takes_the_place(filled: Project, tmp_path: Path) -> None:
    """A larger copy that comes stands for its group from then on: it is validated on instead, and that is said."""
    first = split(filled)
    gone, *_ = held_out(filled, first.snapshot)
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "large.png").write_bytes(encoded(picture(1, (640, 480)), "PNG"))
    import_folder(filled, folder, labels=False)
    with filled.database.write() as session:
        keeper = session.query(Image.id).order_by(Image.id.desc()).limit(1).scalar()
    join(filled, str(gone), str(keeper))
    report = split(filled)
    assert report.left == [Left(gone, "Red", Gone.COPY, str(keeper))]
    assert sides(filled, report.snapshot)[keeper] is Side.VALIDATION


def test_a_conflict_takes_its_group_out(filled: Project) -> None:
    """Joined with an image of another class, neither is split: the one that was held out is named, and both listed."""
    first = split(filled)
    red, _, green, _ = held_out(filled, first.snapshot)
    join(filled, str(red), str(green))
    report = split(filled)
    assert report.left == [Left(n, name, Gone.CONFLICT) for n, name in sorted([(red, "Red"), (green, "Green")])]
    (conflict,) = report.conflicts
    assert conflict.labels == {"Red": [red], "Green": [green]}
    assert not conflict.exact


def test_fewer_that_are_wanted_is_a_reason(filled: Project) -> None:
    """With a smaller validation side some leave, and it is said so."""
    held = held_out(filled, split(filled).snapshot)
    set_value(filled.root / "curate.toml", "dataset.validation", "1")
    project = open_project(filled.root)
    report = split(project)
    project.database.close()
    assert [one.reason for one in report.left] == [Gone.FEWER, Gone.FEWER]
    assert {one.image for one in report.left} < set(held)


def test_exact_copies_with_two_labels_are_said_to_be_such(project: Project, tmp_path: Path) -> None:
    """The same file in the folders of two classes is one image: its number stands under both."""
    folder = write_folder(tmp_path / "in", {"Red": range(3), "Green": range(3)})
    (folder / "Green" / "again.jpg").write_bytes((folder / "Red" / "0.jpg").read_bytes())
    import_folder(project, folder, labels=True)
    (conflict,) = split(project).conflicts
    assert conflict.exact
    assert conflict.labels == {"Red": [conflict.keeper], "Green": [conflict.keeper]}


def test_only_what_decides_stands_in_a_conflict(project: Project, tmp_path: Path) -> None:
    """Where two people contradict each other on two copies, what imports said of them is beside the point."""
    folder = write_folder(tmp_path / "in", {"Red": range(3), "Green": range(3)})
    image = picture(77, (300, 200))
    (folder / "Blue").mkdir()
    (folder / "Blue" / "x.png").write_bytes(encoded(image, "PNG"))
    (folder / "Blue" / "x.jpg").write_bytes(encoded(image, quality=92))
    import_folder(project, folder, labels=True)
    (group,) = dedup(project).groups
    one, other = (member.id for member in group.members)
    say(project, one, "Red")
    assert split(project).conflicts == []
    say(project, other, "Green")
    (conflict,) = split(project).conflicts
    assert conflict.labels == {"Red": [one], "Green": [other]}


def test_the_command_says_what_left(filled: Project, cli: Cli) -> None:
    """As a line for people, and as a field in JSON."""
    cli("split", cwd=filled.root, check=True)
    gone, *_ = held_out(filled, 1)
    set_state(filled, gone, ImageState.SET_ASIDE)
    assert f"image {gone} (Red): it is set aside" in cli("split", cwd=filled.root, check=True).out
    found = cli("split", "--json", cwd=filled.root, check=True).json
    assert found["left"] == [{"image": gone, "class": "Red", "reason": "set_aside", "detail": ""}]
