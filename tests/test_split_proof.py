"""`curate split --proof`, `--folds`, and a manifest that is the same everywhere."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.dedup.search import dedup
from curate.dedup.word import take_apart
from curate.ingest.folder import import_folder
from curate.project import Project
from curate.split import split
from curate.split.folds import folds
from curate.split.proof import prove
from curate.training import manifest_of
from db.errors import DatasetError
from db.models import Side
from tests.conftest import Cli
from tests.pictures import encoded, picture, write_folder
from tests.test_split import sides


def write_copies(folder: Path) -> Path:
    """Twelve different pictures of each of two classes, and a smaller copy of one of the first."""
    for index, name in enumerate(("Red", "Green")):
        (folder / name).mkdir(parents=True)
        for seed in range(12):
            (folder / name / f"{seed}.png").write_bytes(encoded(picture(100 * index + seed, (300, 200)), "PNG"))
    copy = picture(0, (300, 200)).resize((240, 160))
    (folder / "Red" / "copy.jpg").write_bytes(encoded(copy, quality=90))
    return folder


@pytest.fixture
def leaking(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """Copies that nobody looked for; with the first seed that puts them on both sides."""
    settings = {"dataset__target": "12", "dataset__validation": "6"}
    for seed in range(100):
        project = make_project("Red", "Green", name=f"project{seed}", dataset__seed=str(seed), **settings)
        import_folder(project, write_copies(tmp_path / f"in{seed}"), labels=True)
        split(project)
        if prove(project).leaks:
            return project
    raise AssertionError("no seed puts a copy on the other side")


def test_a_leak_is_found_and_closed(leaking: Project) -> None:
    """The pair is named with its score; after a search for duplicates there is none, whatever the other pairs score."""
    (leak,) = prove(leaking).leaks
    now = sides(leaking, 1)
    assert (now[leak.train], now[leak.validation]) == (Side.TRAIN, Side.VALIDATION)
    assert leak.same
    assert leak.score > 0.9
    dedup(leaking)
    split(leaking)
    found = prove(leaking)
    assert found.leaks == []
    assert set(found.classes) == {"Red", "Green"}
    for nearest in found.classes.values():
        assert not nearest.pair.same
        assert nearest.least_distance <= nearest.pair.distance


def test_what_a_person_told_apart_is_no_leak(leaking: Project) -> None:
    """A pair that a person calls two photographs is shown as that."""
    for group in dedup(leaking).groups:
        take_apart(leaking, group.group)
    split(leaking)
    found = prove(leaking)
    assert found.leaks == []
    pairs = [nearest.pair for nearest in found.classes.values()]
    assert any(pair.told_apart and pair.same for pair in pairs)


def test_the_proof_is_a_file_that_says_the_same_again(leaking: Project) -> None:
    """It has the split's number and content, each class's pair with its files, and every leak."""
    report = split(leaking)
    found = prove(leaking)
    written = found.file.read_bytes()
    assert found.file == leaking.root / "proofs" / f"split-{report.snapshot}.json"
    said = json.loads(written)
    assert said["content_sha256"] == report.content_sha256
    assert len(said["leaks"]) == len(found.leaks)
    for pair in said["classes"].values():
        assert (leaking.root / pair["train_file"]).is_file()
        assert (leaking.root / pair["validation_file"]).is_file()
    prove(leaking)
    assert found.file.read_bytes() == written


def test_proof_and_folds_need_a_split(project: Project) -> None:
    """Without one each says what to do."""
    with pytest.raises(DatasetError, match="curate split"):
        prove(project)
    with project.database.read() as session, pytest.raises(DatasetError, match="curate split"):
        folds(session, 2, 1)


def test_the_command_shows_proof_and_folds(leaking: Project, cli: Cli) -> None:
    """A leak is a finding and no failure; people are told what to do about it."""
    ran = cli("split", "--proof", cwd=leaking.root, check=True)
    assert "on both sides: 1" in ran.out
    assert "curate dedup --join" in ran.out
    found = cli("split", "--proof", "--folds", "3", "--json", cwd=leaking.root, check=True).json
    assert found["proof"]["leaks"] == 1
    pair = found["proof"]["classes"]["Red"]
    assert {"train", "validation", "score", "same", "reason", "distance"} < set(pair)
    train = {number for number, side in sides(leaking, 1).items() if side is Side.TRAIN}
    assert {one["id"] for one in found["folds"]} == train
    assert {one["fold"] for one in found["folds"]} == {0, 1, 2}
    refused = cli("split", "--folds", "99", cwd=leaking.root)
    assert (refused.code, refused.out) == (2, "")
    assert "99 folds of" in refused.err


def test_the_same_snapshot_gives_the_same_manifest_elsewhere(
    make_project: Callable[..., Project], tmp_path: Path
) -> None:
    """Imported in another order, under other ids, in another place: the same table to the byte, and the same folds."""
    folder = write_folder(tmp_path / "in", dict.fromkeys(("Red", "Green"), range(9)))
    settings = {"dataset__target": "8", "dataset__validation": "2"}
    one = make_project("Red", "Green", name="one", **settings)
    import_folder(one, folder, labels=True)
    other = make_project("Red", "Green", name="somewhere-else", **settings)
    for number in reversed(range(9)):
        for name in ("Green", "Red"):
            part = tmp_path / f"part{number}{name}" / name
            part.mkdir(parents=True)
            shutil.copy(folder / name / f"{number}.jpg", part / f"renamed{number}.jpg")
            import_folder(other, part.parent, labels=True)
    reports = [split(project) for project in (one, other)]
    assert reports[0].content_sha256 == reports[1].content_sha256
    ids, tables, dealt = [], [], []
    for project in (one, other):
        manifest = manifest_of(project, 1)
        ids.append([item.id for item in manifest.items])
        tables.append((manifest.to_csv(project.runs / "0001-x"), manifest.fingerprint()))
        with project.database.read() as session:
            dealt.append([(one.sha256, one.label, one.fold) for one in folds(session, 3, 5)])
    assert ids[0] != ids[1]
    assert tables[0] == tables[1]
    assert dealt[0] == dealt[1]
    assert str(tmp_path) not in tables[0][0]
