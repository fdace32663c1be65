"""Each format of `curate export`, read by the library that it is meant for."""

import gc
import io
import json
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select

from curate.export import parquet, webdataset
from curate.export.formats import FORMATS
from curate.export.interface import export
from curate.ingest.folder import import_folder
from curate.progress import Telling
from curate.project import Project
from curate.split import split
from db.errors import ConfigError
from db.models import Image as Row
from db.models import Sighting, Snapshot
from tests.pictures import encoded, picture, write_folder

SIDES = {"train": 4, "validation": 2}
"""How many of each class."""
CLASSES = ("Red", "=cmd()", "007", "1e3", "None of these")
Known = Mapping[str, tuple[str, str]]
"""Class and side of each image, by its SHA-256."""


@pytest.fixture
def filled(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """Six pictures of four classes and of none, in three formats, split; one has a licence."""
    project = make_project(*CLASSES[:-1], dataset__target="6", dataset__validation="2")
    folder = write_folder(tmp_path / "in", {name: range(6) for name in CLASSES})
    for number in range(2):
        (folder / "Red" / f"{number}.jpg").unlink()
    (folder / "Red" / "clear.png").write_bytes(encoded(picture(70).convert("RGBA"), "PNG"))
    (folder / "Red" / "small.webp").write_bytes(encoded(picture(71), "WEBP"))
    import_folder(project, folder, labels=True)
    split(project)
    with project.database.write() as session:
        sighting = session.scalars(select(Sighting).order_by(Sighting.id)).first()
        assert sighting is not None
        sighting.licence, sighting.licence_url, sighting.creator = "CC-BY-4.0", "https://example.org/by", "Ann | Bob"
    return project


def known(project: Project) -> Known:
    """What every reader must find."""
    with project.database.read() as session:
        (snapshot,) = session.scalars(select(Snapshot))
        hashes = {row.id: row.sha256 for row in session.scalars(select(Row))}
        inside = {hashes[i.image_id]: (CLASSES[i.class_index], i.side.value) for i in snapshot.items}
        return inside | {hashes[i.image_id]: (CLASSES[-1], i.side.value) for i in snapshot.outsiders}


def written(project: Project, layout: str, folder: Path) -> Path:
    export(project, FORMATS[layout], folder, outsiders=True)
    return folder


def is_of(picture: Image.Image, data: bytes) -> bool:
    """Whether a decoded picture is what `data` holds."""
    with Image.open(io.BytesIO(data)) as stored:
        return picture.convert("RGB").tobytes() == stored.convert("RGB").tobytes()


def files(project: Project) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in project.store.files()}


def test_the_fixture_has_what_is_asked_for(filled: Project) -> None:
    """Every class on both sides, and three formats."""
    assert Counter(known(filled).values()) == {(name, s): n for name in CLASSES for s, n in SIDES.items()}
    assert {path.suffix for path in filled.store.files()} == {".jpg", ".png", ".webp"}


@pytest.mark.parametrize("layout", ["parquet", "webdataset"])
def test_hugging_face_loads_it(filled: Project, tmp_path: Path, layout: str) -> None:
    """Splits, decoded images and classes, whatever the images' formats."""
    import datasets  # noqa: PLC0415 - a second, for these tests alone

    out = written(filled, layout, tmp_path / "out")
    found = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert set(found) == {"train", "validation"}
    stored = files(filled)
    told = {}
    for side, rows in found.items():
        for row in rows:
            said = row if layout == "parquet" else row["json"]
            number = row["label" if layout == "parquet" else "cls"]
            assert is_of(row["image" if layout == "parquet" else "jpg"], stored[said["sha256"]])
            told[said["sha256"]] = CLASSES[number], str(side)
    assert told == known(filled)


def test_parquet_names_classes_and_licences(filled: Project, tmp_path: Path) -> None:
    """Numbers of classes have names; author and licence are columns; the card counts the licences."""
    import datasets  # noqa: PLC0415 - as above

    out = written(filled, "parquet", tmp_path / "out")
    found = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert found["train"].features["label"].names == list(CLASSES)
    rows = [row for side in found.values() for row in side]
    (one,) = (row for row in rows if row["licence"])
    assert (one["licence"], one["creator"]) == ("CC-BY-4.0", "Ann | Bob")
    assert "CC-BY-4.0 https://example.org/by: 1 images" in (out / "README.md").read_text()
    assert "unknown: 29 images" in (out / "README.md").read_text()


def samples(shards: list[str]) -> list[Any]:
    """What webdataset gives; it leaves its files to the garbage collector."""
    import webdataset as wds  # noqa: PLC0415 - as above

    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        found = list(wds.WebDataset(shards, shardshuffle=False).decode("pil").to_tuple("jpg", "cls", "json"))
        gc.collect()
    return found


def test_webdataset_reads_its_shards(filled: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several shards a side hold each image once, of mixed classes."""
    monkeypatch.setattr(webdataset, "SHARD_BYTES", 8000)
    out = written(filled, "webdataset", tmp_path / "out")
    names = (out / "classes.txt").read_text().splitlines()
    told = {}
    for side in SIDES:
        shards = sorted(str(path) for path in out.glob(f"{side}-*.tar"))
        assert len(shards) > 1
        for image, number, said in samples(shards):
            assert said["sha256"] not in told
            assert is_of(image, files(filled)[said["sha256"]])
            told[said["sha256"]] = names[number], side
    assert told == known(filled)


def test_parquet_is_cut_into_files_and_groups(filled: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it is cut, what is read is the same."""
    import datasets  # noqa: PLC0415 - as above

    monkeypatch.setattr(parquet, "SHARD_BYTES", 16000)
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 5000)
    out = written(filled, "parquet", tmp_path / "out")
    assert len(list((out / "data").glob("train-*-of-*.parquet"))) > 1
    found = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    told = {row["sha256"]: (CLASSES[row["label"]], str(side)) for side, rows in found.items() for row in rows}
    assert told == known(filled)


def test_pycocotools_reads_the_annotations(filled: Project, tmp_path: Path) -> None:
    """One annotation an image, whose box is the whole picture; licences as COCO has them."""
    from pycocotools.coco import COCO  # noqa: PLC0415 - as above

    out = written(filled, "coco", tmp_path / "out")
    told, licences = {}, []
    for side in SIDES:
        coco = COCO(str(out / "annotations" / f"instances_{side}.json"))
        for image in coco.loadImgs(coco.getImgIds()):
            (said,) = coco.loadAnns(coco.getAnnIds(image["id"]))
            with Image.open(out / side / image["file_name"]) as shown:
                assert said["bbox"] == [0, 0, *shown.size]
            told[image["sha256"]] = coco.loadCats(said["category_id"])[0]["name"], side
            licences += [one["name"] for one in coco.dataset["licenses"] if one["id"] == image.get("license")]
    assert told == known(filled)
    assert licences == ["CC-BY-4.0"]


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning")  # rdflib's, under mlcroissant
def test_mlcroissant_reads_the_records(filled: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The description is valid, and gives the images decoded beside what the table says of them."""
    import mlcroissant  # noqa: PLC0415 - as above

    out = written(filled, "croissant", tmp_path / "out")
    found = mlcroissant.Dataset(str(out / "croissant.json"))
    assert found.metadata.issues.errors == set()
    assert "not standard" not in caplog.text
    stored = files(filled)
    told = {}
    for record in found.records("records"):
        sha256, label, side = (record[f"records/{name}"].decode() for name in ("sha256", "label", "split"))
        assert is_of(record["records/image"], stored[sha256])
        told[sha256] = label, side
    assert told == known(filled)
    assert [one["classes/name"] for one in found.records("classes")] == list(CLASSES)
    assert json.loads((out / "croissant.json").read_text())["license"] == ["https://example.org/by"]


@pytest.mark.parametrize("names", [("NA", "Red"), ("007", "1e3")])
def test_classes_that_croissant_cannot_tell_are_refused(
    make_project: Callable[..., Project], tmp_path: Path, names: tuple[str, str]
) -> None:
    """pandas, which reads its table, takes them for nothing or for numbers."""
    project = make_project(*names, dataset__target="3", dataset__validation="1")
    import_folder(project, write_folder(tmp_path / "in", {name: range(3) for name in names}), labels=True)
    split(project)
    with pytest.raises(ConfigError, match="rename it"):
        export(project, FORMATS["croissant"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_torchvision_would_not_see_is_told(make_project: Callable[..., Project], tmp_path: Path) -> None:
    """It passes over what ends in .gif, and numbers the classes of each side by the folders that are there."""
    from torchvision.datasets import ImageFolder  # noqa: PLC0415 - as above

    project = make_project("Red", "Green", "Blue", dataset__target="4", dataset__validation="1")
    folder = write_folder(tmp_path / "in", {"Red": range(1), "Green": range(3), "Blue": range(3)})
    (folder / "Green" / "drawn.gif").write_bytes(encoded(picture(70), "GIF"))
    import_folder(project, folder, labels=True)
    split(project)
    said: list[str] = []
    export(project, FORMATS["imagefolder"], tmp_path / "out", Telling(said.append))
    unseen, lacking = said
    assert "(Green 1)" in unseen
    assert lacking.startswith("validation has no image of Red:")
    sides = {side: ImageFolder(str(tmp_path / "out" / side)) for side in SIDES}
    assert sum(map(len, sides.values())) == 7
    assert [side.classes for side in sides.values()] == [["Blue", "Green", "Red"], ["Blue", "Green"]]


def test_images_of_no_class_are_left_out_unless_asked_for(filled: Project, tmp_path: Path) -> None:
    """A reader that knows nothing of them must not learn one class too many."""
    for layout in FORMATS.values():
        report = export(filled, layout, tmp_path / layout.name)
        assert report.images == 24
    assert "None of these" not in (tmp_path / "webdataset" / "classes.txt").read_text()
    assert "None of these" not in (tmp_path / "croissant" / "croissant.json").read_text()
    assert not (tmp_path / "imagefolder" / "train" / "None of these").exists()


def test_an_exported_folder_can_be_imported(
    filled: Project, make_project: Callable[..., Project], tmp_path: Path
) -> None:
    """With the images of no class, which are again of no class."""
    out = written(filled, "imagefolder", tmp_path / "out")
    other = make_project(*CLASSES[:-1], name="other", dataset__target="4", dataset__validation="1")
    import_folder(other, out / "train", labels=True)
    report = split(other)
    found: Any = report.outsiders
    assert (found.train, found.validation) == (3, 1)
