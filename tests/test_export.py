"""`curate export`: the present split as files, again and again into the same folder."""

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from curate import config, edit
from curate.export.formats import FORMATS
from curate.export.interface import MARK, export
from curate.ingest.folder import import_folder
from curate.project import Project
from curate.split import split
from db.errors import ConfigError, DatasetError
from db.files import TEMPORARY
from db.models import Sighting
from tests.pictures import write_folder


@pytest.fixture
def filled(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """Five pictures of each of two classes, split."""
    project = make_project("Red", "=cmd()", dataset__target="5", dataset__validation="1")
    import_folder(project, write_folder(tmp_path / "in", {"Red": range(5), "=cmd()": range(5)}), labels=True)
    split(project)
    return project


def tree(folder: Path) -> dict[str, bytes]:
    """All files below `folder`."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_imagefolder_has_a_folder_a_side_and_class(filled: Project, tmp_path: Path) -> None:
    """What torchvision's ImageFolder reads: exactly the split, byte for byte."""
    out = tmp_path / "out"
    report = export(filled, FORMATS["imagefolder"], out)
    files = tree(out)
    assert (report.images, report.files) == (10, 11)
    assert sum(path.startswith("train/Red/") for path in files) == 4
    assert sum(path.startswith("validation/=cmd()/") for path in files) == 1
    stored = {path.name: path.read_bytes() for path in filled.store.files()}
    for path, data in files.items():
        if path.endswith(".jpg"):
            assert stored[path.rpartition("/")[2]] == data


def test_a_table_says_all_that_is_known(filled: Project, tmp_path: Path) -> None:
    """One row an image, class names unchanged, with licence and source; no path of this machine."""
    with filled.database.write() as session:
        sighting = session.scalars(select(Sighting).order_by(Sighting.id)).first()
        assert sighting is not None
        sighting.licence, sighting.creator = "by-sa", 'Ann, "the" painter'
    out = tmp_path / "out"
    export(filled, FORMATS["csv"], out)
    with (out / "dataset.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    assert {row["label"] for row in rows} == {"Red", "=cmd()"}
    assert {row["split"] for row in rows} == {"train", "validation"}
    assert max(row["creator"] for row in rows) == 'Ann, "the" painter'
    assert all((out / row["path"]).is_file() for row in rows)
    assert str(tmp_path) not in (out / "dataset.csv").read_text()


def test_who_has_a_licence_to_tell_is_believed(filled: Project, tmp_path: Path) -> None:
    """An image that was found before anybody named its licence is written with the words of who did."""
    with filled.database.write() as session:
        first = session.scalars(select(Sighting).order_by(Sighting.id)).first()
        assert first is not None
        said = {"licence": "CC-BY-4.0", "creator": "Ann", "attribution": "Photo by Ann, CC BY 4.0"}
        seen = {"candidate_id": first.candidate_id, "image_id": first.image_id}
        session.add(Sighting(**seen, source="openverse", query="later", **said))
        session.add(Sighting(**seen, source="bing", query="last of all", creator="Bob"))
    export(filled, FORMATS["csv"], tmp_path / "out")
    with (tmp_path / "out" / "dataset.csv").open(newline="") as file:
        (row,) = (row for row in csv.DictReader(file) if int(row["id"]) == first.image_id)
    assert row | said == row
    assert row["source"] == "openverse"


@pytest.mark.parametrize("layout", sorted(FORMATS))
def test_a_licence_that_nobody_could_name_keeps_its_address(filled: Project, tmp_path: Path, layout: str) -> None:
    """Whoever wants to use the image can read it there."""
    address = "https://photos.example/licence"
    with filled.database.write() as session:
        sighting = session.scalars(select(Sighting)).first()
        assert sighting is not None
        sighting.licence_url = address
    export(filled, FORMATS[layout], tmp_path / "out")
    assert any(address.encode() in data for data in tree(tmp_path / "out").values())


@pytest.mark.parametrize("layout", sorted(FORMATS))
def test_a_second_export_changes_nothing(filled: Project, tmp_path: Path, layout: str) -> None:
    """The same split gives the same files."""
    out = tmp_path / "out"
    export(filled, FORMATS[layout], out)
    before = tree(out)
    export(filled, FORMATS[layout], out)
    assert tree(out) == before


def test_what_a_person_has_written_is_left_alone(filled: Project, tmp_path: Path) -> None:
    """A card that was edited, or that another export would write over, stops the export before anything is changed."""
    out = tmp_path / "out"
    export(filled, FORMATS["parquet"], out)
    export(filled, FORMATS["parquet"], out)
    (out / "README.md").write_text("my own card")
    before = tree(out)
    for layout in ("parquet", "csv"):
        with pytest.raises(DatasetError, match=r"README\.md is not as an export left it"):
            export(filled, FORMATS[layout], out)
        assert tree(out) == before
    (out / "README.md").unlink()
    export(filled, FORMATS["csv"], out)
    (out / "README.md").write_text("mine")
    with pytest.raises(DatasetError, match="move it elsewhere"):
        export(filled, FORMATS["parquet"], out)


def test_an_edited_picture_is_left_alone(filled: Project, tmp_path: Path) -> None:
    """One that was resized in place is neither written over nor taken away."""
    out = tmp_path / "out"
    export(filled, FORMATS["imagefolder"], out)
    edited = min(out.rglob("*.jpg"))
    edited.write_bytes(b"smaller")
    for layout in ("imagefolder", "csv"):
        with pytest.raises(DatasetError, match=f"{edited.name} is not as an export left it"):
            export(filled, FORMATS[layout], out)
        assert edited.read_bytes() == b"smaller"


def test_an_export_is_named_as_the_dataset_is(filled: Project, tmp_path: Path) -> None:
    """Not as the folder that it happens to lie in."""
    edit.set_value(filled.root / "curate.toml", "dataset.name", "guitars")
    named = replace(filled, settings=config.load(filled.root / "curate.toml"))
    export(named, FORMATS["croissant"], tmp_path / "out")
    assert json.loads((tmp_path / "out" / "croissant.json").read_text())["name"] == "guitars"


def test_what_left_the_split_leaves_the_export(filled: Project, tmp_path: Path) -> None:
    """An export into a folder of an earlier one holds the new split alone; files of others are never touched."""
    out = tmp_path / "out"
    export(filled, FORMATS["imagefolder"], out)
    (out / "notes.txt").write_text("mine")
    import_folder(filled, write_folder(tmp_path / "more", {"Red": range(50, 90)}), labels=True)
    split(filled)
    export(filled, FORMATS["imagefolder"], out)
    assert sum(path.endswith(".jpg") for path in tree(out)) == 10
    assert (out / "notes.txt").read_text() == "mine"
    assert (out / MARK).exists()


def test_an_export_of_another_kind_leaves_no_empty_folder(filled: Project, tmp_path: Path) -> None:
    """A folder without a file in it would be taken for a class."""
    out = tmp_path / "out"
    export(filled, FORMATS["imagefolder"], out)
    export(filled, FORMATS["csv"], out)
    assert not (out / "train").exists()
    assert not [path for path in out.rglob("*") if path.is_dir() and not any(path.iterdir())]


def test_a_strange_folder_is_refused(filled: Project, tmp_path: Path) -> None:
    """A folder that holds something else is not written into."""
    (tmp_path / "in" / "Red").mkdir(exist_ok=True)
    with pytest.raises(DatasetError, match="not empty"):
        export(filled, FORMATS["csv"], tmp_path / "in")


@pytest.mark.parametrize(
    "mark", ['{"files": ["../mine.txt"]}', '{"files": [], "sha256": {"/mine.txt": null}}', '{"files"', "[]", "\xff"]
)
def test_a_mark_takes_away_nothing_elsewhere(filled: Project, tmp_path: Path, mark: str) -> None:
    """It may come with somebody's dataset, or be damaged: the folder is refused, in a line."""
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "mine.txt").write_text("mine")
    (out / MARK).write_bytes(mark.encode("latin-1"))
    with pytest.raises(DatasetError, match="choose a new folder"):
        export(filled, FORMATS["csv"], out)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert list(tree(out)) == [MARK]


def test_a_file_is_no_folder(filled: Project, tmp_path: Path) -> None:
    """It is told as the wrong request that it is."""
    (tmp_path / "out").write_text("mine")
    with pytest.raises(DatasetError, match="is a file"):
        export(filled, FORMATS["csv"], tmp_path / "out")


def test_a_class_of_two_lines_is_refused_where_a_line_is_a_class(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    """U+2028 is one for many readers: every number after it would be another class's."""
    project = make_project("Red", "North\u2028South", dataset__target="2", dataset__validation="1")
    import_folder(project, write_folder(tmp_path / "in", {"Red": range(2)}), labels=True)
    split(project)
    with pytest.raises(ConfigError, match="rename it"):
        export(project, FORMATS["webdataset"], tmp_path / "out")


def test_without_pyarrow_nothing_is_begun(filled: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install, and no folder is left behind."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'curate\[parquet\]'"):
        export(filled, FORMATS["parquet"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", sorted(FORMATS))
def test_an_image_whose_file_is_gone_is_named(filled: Project, tmp_path: Path, layout: str) -> None:
    """Nothing is written in its place."""
    gone = next(filled.store.files())
    gone.unlink()
    with pytest.raises(DatasetError, match=f"{gone.name} is gone; `curate doctor`"):
        export(filled, FORMATS[layout], tmp_path / "out")
    assert not [path for path in tree(tmp_path / "out") if gone.name in path or path.startswith(TEMPORARY)]


@pytest.mark.parametrize("layout", ["csv", "webdataset"])
def test_an_image_whose_file_was_altered_is_named(filled: Project, tmp_path: Path, layout: str) -> None:
    """Whoever reads the dataset would take its bytes for those that its hash names."""
    altered = next(filled.store.files())
    altered.write_bytes(altered.read_bytes()[:-2] + b"xx")
    with pytest.raises(DatasetError, match=f"{altered.name} was altered; `curate doctor`"):
        export(filled, FORMATS[layout], tmp_path / "out")
    assert not [path for path in tree(tmp_path / "out") if altered.name in path or path.startswith(TEMPORARY)]


def test_an_export_that_fails_keeps_what_it_knew(filled: Project, tmp_path: Path) -> None:
    """What a person edits after it is still theirs, and what it left as it was still its own."""
    out = tmp_path / "out"
    export(filled, FORMATS["parquet"], out)
    gone = next(filled.store.files())
    data = gone.read_bytes()
    gone.unlink()
    with pytest.raises(DatasetError, match="is gone"):
        export(filled, FORMATS["parquet"], out)
    card = (out / "README.md").read_bytes()
    (out / "README.md").write_text("my own card")
    gone.write_bytes(data)
    with pytest.raises(DatasetError, match=r"README\.md is not as an export left it"):
        export(filled, FORMATS["parquet"], out)
    (out / "README.md").write_bytes(card)
    export(filled, FORMATS["parquet"], out)


def test_without_a_split_there_is_nothing_to_export(project: Project, tmp_path: Path) -> None:
    """The message says what to do first."""
    with pytest.raises(DatasetError, match="curate split"):
        export(project, FORMATS["csv"], tmp_path / "out")
