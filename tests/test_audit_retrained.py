"""`curate audit --retrain`: networks judge the labels that they neither learned from nor were validated on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from curate.audit.audit import Asked, audit
from curate.audit.kept import FOLDER
from curate.audit.labelled import Labelled, labelled_keepers
from curate.audit.retrained import retrained
from curate.ingest.folder import import_folder
from curate.project import Project
from db.errors import DatasetError
from tests.pictures import write_folder
from tests.test_audit import TRAINING
from tests.test_forget import out


@pytest.fixture
def two(make_project: Callable[..., Project], tmp_path: Path) -> tuple[Project, Labelled]:
    """Six pictures of each of two classes, in folds."""
    project = make_project("Red", "Green", **TRAINING)
    folders = {"Red": range(6), "Green": range(6, 12)}
    import_folder(project, write_folder(tmp_path / "in", folders), labels=True)
    with project.database.read() as session:
        return project, labelled_keepers(project, session)


def test_networks_trained_without_a_fold_judge_it(two: tuple[Project, Labelled]) -> None:
    """All labels, by five networks whose answers are kept until one of their images is forgotten, and whose runs go."""
    project, data = two
    said = retrained(project, data)
    assert said.shape == (12, 2)
    files = sorted((project.private / FOLDER).iterdir())
    assert [file.suffix for file in files] == [".npy"] * 5
    before = [file.stat().st_mtime_ns for file in files]
    assert (retrained(project, data) == said).all()
    assert [file.stat().st_mtime_ns for file in files] == before
    files[0].write_bytes(b"damaged")
    assert (retrained(project, data) == said).all()
    assert audit(project, Asked(retrain=True)).by == "networks trained without them"
    out(project, int(data.items[0].id))
    assert not (project.private / FOLDER).exists()


def test_what_is_judged_has_no_say_in_how_it_is_judged(two: tuple[Project, Labelled]) -> None:
    """Other labels of one fold: the network that judges it is the same one, and the four others are trained anew."""
    project, data = two
    said = retrained(project, data)
    mine = data.folds == 0
    items = (replace(item, label=1 - item.label) if own else item for item, own in zip(data.items, mine, strict=True))
    otherwise = retrained(project, replace(data, items=tuple(items)))
    assert (otherwise[mine] == said[mine]).all()
    assert len(list((project.private / FOLDER).iterdir())) == 9


def test_networks_need_three_folds(make_project: Callable[..., Project], tmp_path: Path) -> None:
    """One to judge, one to validate on, and one to learn from."""
    project = make_project("Red", "Green", **TRAINING)
    import_folder(project, write_folder(tmp_path / "in", {"Red": range(2), "Green": range(2, 4)}), labels=True)
    with pytest.raises(DatasetError, match="three labelled images of a class"):
        audit(project, Asked(retrain=True))
