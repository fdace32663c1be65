"""`curate import`: a folder taken in once, however often it is imported."""

import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text
from sqlalchemy import func, select

from curate.classes.apply import change_classes
from curate.classes.change import Change
from curate.cli.harmless import Harmless
from curate.ingest import folder as folders
from curate.ingest.folder import import_folder, local_offer, local_path
from curate.progress import Quiet, Task
from curate.project import Project
from curate.status import status
from db.errors import DatasetError
from db.models import Annotation, Base, Candidate, ChangeKind, Class, Image, ImageState, Label, Sighting
from db.store import digest
from tests.conftest import Cli
from tests.pictures import encoded, jpeg, picture, write_folder


def counts(project: Project) -> dict[str, int]:
    """Rows of every table."""
    with project.database.read() as session:
        tables = Base.metadata.sorted_tables
        return {table.name: session.scalar(select(func.count()).select_from(table)) or 0 for table in tables}


def labels_of(project: Project) -> dict[str, str | None]:
    """The class that each image counts as, by hash; None for a conflict."""
    query = select(Image.sha256, Class.name).join(Label, Label.image_id == Image.id)
    with project.database.read() as session:
        return {row[0]: row[1] for row in session.execute(query.outerjoin(Class, Class.id == Label.class_id))}


def test_files_are_stored_with_their_labels(project: Project, tmp_path: Path) -> None:
    """Subfolders' names, in any case, are labels; files beside them are stored without."""
    folder = write_folder(tmp_path / "in", {"red": range(3), "GREEN": range(2)})
    (folder / "loose.png").write_bytes(encoded(picture(99), "PNG"))
    report = import_folder(project, folder, labels=True)
    assert (report.stored, report.duplicates, len(report.labelled_ids)) == (6, 0, 5)
    found = status(project)
    assert (found.classes["Red"].labelled, found.classes["Green"].labelled, found.unlabelled) == (3, 2, 1)
    assert len(list(project.store.files())) == 6


def test_a_second_import_changes_nothing(project: Project, tmp_path: Path) -> None:
    """Every table has the rows it had, and every file is counted as known."""
    folder = write_folder(tmp_path / "in", {"Red": range(4)})
    shutil.copy(folder / "Red" / "0.jpg", folder / "Red" / "copy.jpg")
    (folder / "Red" / "broken.jpg").write_bytes(jpeg(1)[:500])
    first = import_folder(project, folder, labels=True)
    before = counts(project)
    second = import_folder(project, folder, labels=True)
    assert counts(project) == before
    assert (first.stored, first.duplicates, dict(first.failed)) == (4, 1, {"corrupt": 1})
    assert (second.stored, second.duplicates, dict(second.failed)) == (0, 5, {"corrupt": 1})


def test_the_same_bytes_twice_are_one_image_with_two_sightings(project: Project, tmp_path: Path) -> None:
    """A copy under another name adds a sighting and no file."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(jpeg(1))
    import_folder(project, folder, labels=False)
    with project.database.read() as session:
        (image,) = session.scalars(select(Image)).all()
        assert sorted(sighting.name for sighting in image.sightings) == ["a.jpg", "b.jpg"]


def test_every_file_ends_in_one_count_with_a_reason(project: Project, tmp_path: Path) -> None:
    """Stored, copies and failures add up to the files; hidden files are none."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.jpg").write_bytes(jpeg(1))
    (folder / "page.jpg").write_bytes(b"<html></html>")
    (folder / "empty.png").write_bytes(b"")
    (folder / "tiny.png").write_bytes(encoded(picture(1, (5, 5)), "PNG"))
    (folder / ".DS_Store").write_bytes(b"x")
    report = import_folder(project, folder, labels=False)
    assert (report.stored, dict(report.failed)) == (1, {"not_an_image": 1, "corrupt": 1, "too_small": 1})
    with project.database.read() as session:
        reasons = session.scalars(select(Candidate.reason).where(Candidate.reason.is_not(None))).all()
    assert sorted(str(reason) for reason in reasons) == sorted(report.failed)


def test_a_file_that_was_mended_is_taken_the_next_time(project: Project, tmp_path: Path) -> None:
    """A refusal is no verdict on a path: other bytes there are judged anew."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "x.jpg").write_bytes(jpeg(1)[:300])
    import_folder(project, folder, labels=False)
    (folder / "x.jpg").write_bytes(jpeg(1))
    assert import_folder(project, folder, labels=False).stored == 1
    with project.database.read() as session:
        assert session.scalars(select(Candidate)).one().reason is None


def test_unknown_subfolders_are_refused_before_any_work(project: Project, tmp_path: Path) -> None:
    """A misspelt class is told with the nearest one, and nothing is stored."""
    folder = write_folder(tmp_path / "in", {"Red": range(2), "Grean": range(2)})
    with pytest.raises(DatasetError, match=r"'Grean'.*did you mean 'Green'"):
        import_folder(project, folder, labels=True)
    assert counts(project)["images"] == 0
    with pytest.raises(DatasetError, match="is no folder"):
        import_folder(project, tmp_path / "nowhere", labels=False)


def test_a_folder_has_one_address_however_it_is_named(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`../in` is where it is, not how it was reached: from elsewhere the files would be others."""
    write_folder(tmp_path / "in", {"Red": range(1)})
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    import_folder(project, Path("../in"), labels=False)
    with project.database.read() as session:
        (seen,) = session.scalars(select(Candidate.address))
    assert seen == (tmp_path / "in" / "Red" / "0.jpg").as_uri()


def test_the_same_picture_under_two_classes_is_a_conflict(project: Project, tmp_path: Path) -> None:
    """Contradicting folders leave the image without a label that counts."""
    folder = write_folder(tmp_path / "in", {"Red": range(1), "Green": range(0)})
    shutil.copy(folder / "Red" / "0.jpg", folder / "Green" / "same.jpg")
    import_folder(project, folder, labels=True)
    assert (status(project).conflicts, status(project).unlabelled) == (1, 1)


def test_moving_a_file_to_another_class_mends_its_label(project: Project, tmp_path: Path) -> None:
    """After a file was moved and the folder imported again, only the new place counts; the old one is on record."""
    folder = write_folder(tmp_path / "in", {"Red": range(1), "Green": range(1)})
    import_folder(project, folder, labels=True)
    (folder / "Red" / "0.jpg").rename(folder / "Green" / "moved.jpg")
    import_folder(project, folder, labels=True)
    assert (status(project).classes["Red"].labelled, status(project).classes["Green"].labelled) == (0, 2)
    with project.database.read() as session:
        states = sorted(a.state.value for a in session.scalars(select(Annotation)))
        assert session.scalar(select(func.count()).select_from(Label)) == 2
    assert states == ["active", "active", "deleted"]


def test_a_file_that_was_moved_out_of_a_removed_class_stays_where_it_is(project: Project, tmp_path: Path) -> None:
    """When the class comes back, what the file said in its folder does not."""
    folder = write_folder(tmp_path / "in", {"Red": range(2), "Green": range(1)})
    import_folder(project, folder, labels=True)
    change_classes(project, Change(ChangeKind.REMOVE, ("Red",)), drop_labels=True)
    (folder / "Red" / "0.jpg").rename(folder / "Green" / "moved.jpg")
    (folder / "Red").rename(tmp_path / "kept")
    import_folder(project, folder, labels=True)
    change_classes(project, Change(ChangeKind.ADD, ("Red",)))
    assert sorted(map(str, labels_of(project).values())) == ["Green", "Green", "Red"]


def test_two_files_that_changed_places_change_their_labels(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lay under a name before says nothing of what lies there now, also where the two are in different batches."""
    monkeypatch.setattr(folders, "_BATCH", 1)
    folder = write_folder(tmp_path / "in", {"Red": range(2), "Green": range(2)})
    import_folder(project, folder, labels=True)
    before = labels_of(project)
    red, green = folder / "Red" / "0.jpg", folder / "Green" / "0.jpg"
    red_bytes, green_bytes = red.read_bytes(), green.read_bytes()
    red.write_bytes(green_bytes)
    green.write_bytes(red_bytes)
    import_folder(project, folder, labels=True)
    after = labels_of(project)
    swapped = {digest(red): "Red", digest(green): "Green"}
    assert after == before | swapped
    green.unlink()  # in no folder any more: what was said of it stands
    import_folder(project, folder, labels=True)
    assert labels_of(project) == after


def test_links_are_followed_but_not_in_a_circle(project: Project, tmp_path: Path) -> None:
    """Images of a linked folder come in under the link's name; a link that leads back up adds nothing."""
    elsewhere = write_folder(tmp_path / "elsewhere", {"photos": range(2)}) / "photos"
    (elsewhere / "back").symlink_to(tmp_path / "in")
    folder = write_folder(tmp_path / "in", {"Green": range(2, 4)})
    (folder / "Red").symlink_to(elsewhere)
    (folder / "Green" / "round").symlink_to(folder)
    (folder / "Green" / "itself").symlink_to("itself")
    report = import_folder(project, folder, labels=True)
    assert (report.stored, report.duplicates, dict(report.failed)) == (4, 0, {})
    found = status(project).classes
    assert (found["Red"].labelled, found["Green"].labelled) == (2, 2)


def test_a_folder_that_cannot_be_looked_into_is_told(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs what is in it, and is no silence."""
    folder = write_folder(tmp_path / "in", {"Red": range(1), "Green": range(1)})
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("Red"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    report = import_folder(project, folder, labels=True)
    assert (report.stored, [path.name for path, _ in report.failures]) == (1, ["Red"])
    assert dict(report.failed) == {"unreadable": 1}


def test_a_name_that_a_terminal_would_obey_is_shown_harmless(project: Project, cli: Cli, tmp_path: Path) -> None:
    """Titles come from the web and names from anybody: control characters have pictures."""
    folder = tmp_path / "in\x1b]0;x"
    folder.mkdir()
    (folder / "\x1b[31mred.jpg").write_bytes(b"")
    shown = cli("import", folder, cwd=project.root)
    refused = cli("import", folder / "\x1b[31mred.jpg", cwd=project.root)
    assert "in\u241b]0;x/\u241b[31mred.jpg: corrupt" in shown.out
    assert refused.code == 2
    assert "\x1b" not in shown.out + shown.err + refused.out + refused.err
    out = io.StringIO()
    Console(file=out, force_terminal=True).print(Harmless(Text("\x1b[31mred", "bold")))
    assert out.getvalue() == "\x1b[1m\u241b[31mred\x1b[0m\n"


class Between(Quiet):
    """Does something once, after the first batch."""

    def __init__(self, then: Callable[[], object]) -> None:
        self._then: list[Callable[[], object]] = [then]

    def advance(self, steps: int = 1) -> None:  # noqa: ARG002 - the protocol's signature
        """Do it."""
        if self._then:
            self._then.pop()()

    @contextmanager
    def task(self, name: str, total: int | None, unit: str) -> Iterator[Task]:  # noqa: ARG002 - as above
        """Begin."""
        yield self


def test_a_class_may_be_renamed_or_merged_while_its_images_come_in(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of the import says what its folder's name counts as now, also where another class has that name."""
    monkeypatch.setattr(folders, "_BATCH", 1)
    folder = write_folder(tmp_path / "in", {"Red": range(3)})
    rename = Change(ChangeKind.RENAME, ("Red",), "Crimson")
    swap = Change(ChangeKind.RENAME, ("Blue",), "Red")
    both = Between(lambda: [change_classes(project, change) for change in (rename, swap)])
    import_folder(project, folder, labels=True, progress=both)
    assert [*labels_of(project).values()] == ["Crimson"] * 3
    more = write_folder(tmp_path / "more", {"Green": range(3, 6)})
    merge = Change(ChangeKind.MERGE, ("Green",), "Crimson")
    import_folder(project, more, labels=True, progress=Between(lambda: change_classes(project, merge)))
    assert [*labels_of(project).values()] == ["Crimson"] * 6


def test_a_class_that_is_removed_while_its_images_come_in_takes_their_labels_along(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are on record as those before: when the class comes back, all of them count again."""
    monkeypatch.setattr(folders, "_BATCH", 1)
    folder = write_folder(tmp_path / "in", {"Red": range(3)})
    remove = Change(ChangeKind.REMOVE, ("Red",))
    later = Between(lambda: change_classes(project, remove, drop_labels=True))
    assert import_folder(project, folder, labels=True, progress=later).stored == 3
    assert labels_of(project) == {}
    change_classes(project, Change(ChangeKind.ADD, ("Red",)))
    assert [*labels_of(project).values()] == ["Red"] * 3


@pytest.mark.parametrize("name", ["x" * 200 + ".jpg", "a b&c;.jpg", "né\u0301.jpg", "a..jpg", "\udcff.jpg"])
def test_names_from_outside_are_never_paths(project: Project, tmp_path: Path, name: str) -> None:
    """A file of any name, in a folder of any name, is stored under its hash.

    The name is kept for people, and its address leads back to it.
    """
    folder = tmp_path / name.removesuffix(".jpg")
    folder.mkdir()
    path = folder / name
    path.write_bytes(jpeg(1))
    assert local_path(local_offer(path, "import").address) == path
    report = import_folder(project, folder, labels=False)
    assert report.stored == 1
    assert [p.parent.parent for p in project.store.files()] == [project.root / "images"]


def test_what_was_forgotten_does_not_come_back(project: Project, tmp_path: Path) -> None:
    """An image that was taken out for good is refused by its bytes, under any name."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(jpeg(1))
    import_folder(project, folder, labels=False)
    with project.database.write() as session:
        session.scalars(select(Image)).one().state = ImageState.FORGOTTEN
    for path in project.store.files():
        path.unlink()
    (folder / "b.jpg").write_bytes(jpeg(1))
    assert dict(import_folder(project, folder, labels=False).failed) == {"forgotten": 2}
    assert list(project.store.files()) == []


def test_too_large_a_file_is_not_read(make_project: Callable[..., Project], tmp_path: Path) -> None:
    """Reading stops at the limit."""
    project = make_project(ingest__max_bytes="1000")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(os.urandom(2000))
    assert dict(import_folder(project, folder, labels=False).failed) == {"too_many_bytes": 1}


def test_sightings_tell_where_an_image_came_from(project: Project, tmp_path: Path) -> None:
    """Source and file name are on record for every image."""
    folder = write_folder(tmp_path / "in", {"Red": range(1)})
    import_folder(project, folder, labels=True)
    with project.database.read() as session:
        sighting = session.scalars(select(Sighting)).one()
        assert (sighting.source, sighting.name) == ("import", "0.jpg")
        assert local_path(sighting.candidate.address) == folder / "Red" / "0.jpg"


def test_a_folder_without_subfolders_labels_nothing_and_says_so(project: Project, cli: Cli, tmp_path: Path) -> None:
    """Its images come in all the same."""
    folder = tmp_path / "flat"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(jpeg(1))
    ran = cli("import", folder, "--labels", "folder", cwd=project.root, check=True)
    assert "nothing is labelled" in ran.err
    assert "1 images stored" in ran.out
