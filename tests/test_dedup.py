"""Near-duplicates: proposed exactly, looked at, grouped, and stable."""

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from sqlalchemy import func, select

from curate.dedup import layouts, search
from curate.dedup.groups import Standing, components, keeper_of
from curate.dedup.picture import read_rgb
from curate.dedup.search import dedup
from curate.edit import set_value
from curate.ingest.folder import import_folder
from curate.progress import Quiet, Task
from curate.project import Project, open_project
from curate.select import unlabelled
from curate.status import status
from db.errors import StoreError
from db.models import DuplicateGroup, Image, ImageState
from tests.pictures import encoded, jpeg, picture, write_folder


def test_groups_are_connected_components() -> None:
    """Pairs that share an image share a group."""
    assert components([(5, 2), (2, 9), (1, 3)]) == [[1, 3], [2, 5, 9]]
    assert components([]) == []


@pytest.mark.parametrize(
    ("first", "second", "keeper"),
    [
        ((ImageState.STORED, 100, 1.0), (ImageState.STORED, 200, 0.5), 2),
        ((ImageState.STORED, 100, 1.0), (ImageState.STORED, 100, 2.0), 2),
        ((ImageState.STORED, 100, 1.0), (ImageState.STORED, 100, 1.0), 1),
        ((ImageState.STORED, 100, 1.0), (ImageState.SET_ASIDE, 900, 9.0), 1),
    ],
)
def test_the_largest_sharpest_stands_for_a_group(
    first: tuple[ImageState, int, float], second: tuple[ImageState, int, float], keeper: int
) -> None:
    """Size, then sharpness, then age decide; what is set aside never stands for what is in use."""
    images = {1: Standing(*first, None, True), 2: Standing(*second, None, True)}
    assert keeper_of([1, 2], images) == keeper


def copies_folder(tmp_path: Path) -> Path:
    """Three pictures, two of them with copies: smaller, and recompressed; and one in another colour."""
    folder = tmp_path / "in"
    folder.mkdir()
    big = picture(1, (600, 450))
    (folder / "1-big.jpg").write_bytes(encoded(big, quality=92))
    (folder / "1-small.jpg").write_bytes(encoded(big.resize((300, 225), Picture.Resampling.LANCZOS), quality=85))
    (folder / "1-recoded.webp").write_bytes(encoded(big, "WEBP", quality=80))
    (folder / "2.jpg").write_bytes(jpeg(2, (600, 450)))
    (folder / "3-a.png").write_bytes(encoded(picture(3, (300, 225)), "PNG"))
    (folder / "3-b.jpg").write_bytes(encoded(picture(3, (300, 225)), quality=95))
    red, green, blue = picture(1, (600, 450)).split()
    (folder / "1-recoloured.jpg").write_bytes(encoded(Picture.merge("RGB", (blue, green, red)), quality=92))
    return folder


def names(project: Project) -> list[list[str]]:
    """Groups, by the names of their members, keeper first."""
    return sorted(
        [m.name for m in g.members if m.id == g.keeper] + sorted(m.name for m in g.members if m.id != g.keeper)
        for g in dedup(project).groups
    )


def test_copies_are_grouped_and_look_alikes_are_not(project: Project, tmp_path: Path) -> None:
    """Resized and re-encoded copies are found; the same scene in other colours is another picture."""
    import_folder(project, copies_folder(tmp_path), labels=False)
    groups = names(project)
    assert sorted(sorted(group) for group in groups) == [
        ["1-big.jpg", "1-recoded.webp", "1-small.jpg"],
        ["3-a.png", "3-b.jpg"],
    ]
    keepers = {group[0] for group in groups}
    assert "1-small.jpg" not in keepers
    assert status(project).duplicates == 3
    with project.database.read() as session:
        queued = {image.sightings[0].name for image in unlabelled(session)}
    assert queued == keepers | {"1-recoloured.jpg", "2.jpg"}


def test_a_second_search_changes_nothing(project: Project, tmp_path: Path) -> None:
    """Nothing new is nothing to look at, and groups keep their numbers."""
    import_folder(project, copies_folder(tmp_path), labels=False)
    first = dedup(project)
    with project.database.read() as session:
        before = session.execute(select(Image.id, Image.group_id, Image.is_keeper)).all()
    again = dedup(project)
    with project.database.read() as session:
        assert session.execute(select(Image.id, Image.group_id, Image.is_keeper)).all() == before
    assert first.groups == again.groups
    assert (first.proposed > 0, again.proposed) == (True, 0)


def test_groups_are_the_same_in_one_go_or_in_two(make_project: Callable[..., Project], tmp_path: Path) -> None:
    """Searching after every import ends where one search at the end does."""
    folder = copies_folder(tmp_path)
    whole, parts = make_project(name="whole"), make_project(name="parts")
    import_folder(whole, folder, labels=False)
    for number, path in enumerate(sorted(folder.iterdir())):
        part = tmp_path / f"part{number}"
        part.mkdir()
        shutil.copy(path, part)
        import_folder(parts, part, labels=False)
        dedup(parts)
    assert names(whole) == names(parts)


@pytest.mark.parametrize("left", [0, 4, 700])
def test_a_damaged_file_is_said_and_nothing_counts_as_compared(project: Project, tmp_path: Path, left: int) -> None:
    """The search stops with what to do; once the file is back, all is compared."""
    import_folder(project, copies_folder(tmp_path), labels=False)
    with project.database.read() as session:
        image = session.scalars(select(Image)).first()
        assert image is not None
        path = project.store.path(image.sha256, image.format)
    whole = path.read_bytes()
    path.write_bytes(whole[:left])
    with pytest.raises(StoreError, match="curate doctor"):
        dedup(project)
    path.write_bytes(whole)
    assert len(names(project)) == 2


def test_layouts_are_searched_in_pieces(
    make_project: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few layouts are held at once, the same pairs are proposed, once each."""
    whole, pieces = make_project(name="whole"), make_project(name="pieces")
    for project in (whole, pieces):
        import_folder(project, copies_folder(tmp_path) if project is whole else tmp_path / "in", labels=False)
    first = dedup(whole)
    monkeypatch.setattr(layouts, "_BLOCK", 3)
    second = dedup(pieces)
    assert second.proposed == first.proposed > len(first.groups)
    assert [[m.name for m in g.members] for g in second.groups] == [[m.name for m in g.members] for g in first.groups]


class Stops(Quiet):
    """Breaks off when so many searches for layouts have begun."""

    def __init__(self, after: int) -> None:
        self.left = after

    @contextmanager
    def task(self, name: str, total: int | None, unit: str) -> Iterator[Task]:  # noqa: ARG002 - the protocol's
        """Count down."""
        self.left -= name.startswith("looking")
        if self.left < 0:
            raise KeyboardInterrupt
        yield self


def test_a_search_that_was_stopped_goes_on(
    make_project: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was compared is not compared again, and the end is that of a search in one go."""
    whole, stopped = make_project(name="whole"), make_project(name="stopped")
    import_folder(whole, copies_folder(tmp_path), labels=False)
    import_folder(stopped, tmp_path / "in", labels=False)
    expected = names(whole)
    monkeypatch.setattr(search, "_BATCH", 2)
    with pytest.raises(KeyboardInterrupt):
        dedup(stopped, Stops(after=2))
    with stopped.database.read() as session:
        compared = session.scalars(select(Image.id).where(Image.compared_with.is_not(None))).all()
    assert len(compared) == 4
    assert names(stopped) == expected


def test_a_better_copy_takes_over(project: Project, tmp_path: Path) -> None:
    """A larger copy that comes later becomes the keeper, and the label stays with the group."""
    folder = write_folder(tmp_path / "in", {"Red": range(0)})
    small = encoded(picture(1, (200, 150)), quality=92)
    (folder / "Red" / "small.jpg").write_bytes(small)
    import_folder(project, folder, labels=True)
    dedup(project)
    later = tmp_path / "later"
    later.mkdir()
    (later / "large.jpg").write_bytes(encoded(picture(1, (800, 600)), quality=92))
    import_folder(project, later, labels=False)
    assert names(project) == [["large.jpg", "small.jpg"]]
    assert (status(project).classes["Red"].labelled, status(project).unlabelled) == (1, 0)


def test_stricter_settings_take_groups_apart(make_project: Callable[..., Project], tmp_path: Path) -> None:
    """Under another limit everything is looked at anew, and groups that no longer hold are gone."""
    folder = tmp_path / "in"
    folder.mkdir()
    image = picture(5, (400, 300))
    (folder / "a.png").write_bytes(encoded(image, "PNG"))
    (folder / "b.jpg").write_bytes(encoded(image, quality=25))
    project = make_project()
    import_folder(project, folder, labels=False)
    assert len(dedup(project).groups) == 1
    set_value(project.root / "curate.toml", "dedup.likeness", "1.0")
    set_value(project.root / "curate.toml", "dedup.difference", "0.01")
    stricter = open_project(project.root)
    assert dedup(stricter).groups == []
    with stricter.database.read() as session:
        assert session.scalar(select(func.count()).select_from(DuplicateGroup)) == 0
        assert session.scalars(select(Image.is_keeper)).all() == [True, True]
    stricter.database.close()


def test_settings_that_were_tried_and_taken_back_lose_no_group(
    make_project: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search under other limits that was stopped, and then one under those of before, find what was found before."""
    project = make_project()
    import_folder(project, copies_folder(tmp_path), labels=False)
    expected = names(project)
    monkeypatch.setattr(search, "_BATCH", 2)
    set_value(project.root / "curate.toml", "dedup.likeness", "0.7")
    other = open_project(project.root)
    with pytest.raises(KeyboardInterrupt):
        dedup(other, Stops(after=1))
    other.database.close()
    assert names(project) == expected


def test_what_is_set_aside_is_still_compared(project: Project, tmp_path: Path) -> None:
    """A copy of a picture that was set aside is found."""
    import_folder(project, copies_folder(tmp_path), labels=False)
    with project.database.write() as session:
        for image in session.scalars(select(Image).where(Image.format == "PNG")):
            image.state = ImageState.SET_ASIDE
    assert ["3-b.jpg", "3-a.png"] in names(project)


def test_pictures_are_compared_as_they_are_seen() -> None:
    """A transparent copy over white compares with its flattened self."""
    cutout = picture(1, (100, 100)).convert("RGBA")
    cutout.putalpha(Picture.linear_gradient("L").resize((100, 100)))
    flat = Picture.new("RGBA", (100, 100), (255, 255, 255, 255))
    flat.alpha_composite(cutout)
    first, second = read_rgb(encoded(cutout, "PNG")), read_rgb(encoded(flat.convert("RGB"), "PNG"))
    assert np.abs(first.astype(int) - second).max() <= 1
    assert Picture.open(io.BytesIO(encoded(cutout, "PNG"))).mode == "RGBA"
