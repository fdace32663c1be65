"""`curate label accept`: a run taken at its word where it proved right, marked, checked, and taken back."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from curate.edit import set_value
from curate.ingest.folder import import_folder
from curate.people.accept import accept, take_back
from curate.people.account import account
from curate.project import Project, open_project
from curate.select import unlabelled
from curate.split import split
from curate.training import options_from, train_run
from db.labels import Answer, accepted_keepers, keeper_labels, record
from db.models import AnnotationOrigin, AnnotationState, Label, Prediction
from db.models.base import now
from db.reviews import waiting
from tests.conftest import Cli, project_in
from tests.pictures import write_folder
from trainer.trust import Threshold

CLASSES = ("Red", "Green")
TRAINING = {
    "train__arch": '"resnet18"',
    "train__init": '"none"',
    "train__size": "32",
    "train__epochs": "3",
    "train__device": '"cpu"',
    "dataset__validation": "22",
    "dataset__target": "44",
}

pytestmark = pytest.mark.xdist_group("accept")
"""In one process: another would train the run once more."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is right on 22 held-out images of each class, and 12 images that nobody has labelled: trained once."""
    folder = tmp_path_factory.mktemp("trained")
    project = project_in(folder / "project", *CLASSES, **TRAINING)
    write_folder(folder / "in", {name: range(44) for name in CLASSES})
    write_folder(folder / "more", {name: range(100, 106) for name in CLASSES})
    import_folder(project, folder / "in", labels=True)
    split(project)
    assert train_run(project, options_from(project)).result.validation_accuracy == 1.0
    import_folder(project, folder / "more", labels=False)
    project.database.close()
    return project.root


@pytest.fixture
def taught(trained: Path, tmp_path: Path) -> Iterator[Project]:
    """A copy of it for each test."""
    project = open_project(shutil.copytree(trained, tmp_path / "project"))
    yield project
    project.database.close()


def test_sure_answers_are_accepted_once_and_taken_back(taught: Project) -> None:
    """They are as the run says, leave the queue, do not count until told, and come back to the queue when withdrawn."""
    report = accept(taught, 0.99, 0.0)
    with taught.database.read() as session:
        taken = accepted_keepers(session)
        said = {p.image_id: p.class_index for p in session.scalars(select(Prediction)) if p.image_id in taken}
        sure = {
            p.image_id for p in session.scalars(select(Prediction)) if not p.outside and _sure(p, report.thresholds)
        }
        ids = list(taught.classes(session).values())
        assert set(taken) == sure
        assert len(taken) == sum(report.accepted.values()) > 0
        assert taken == {image: ids[index] for image, index in said.items()}
        assert not taken.keys() & {image.id for image in unlabelled(session)}
        assert len(keeper_labels(session)) == 88
    assert sum(accept(taught, 0.99, 0.0).accepted.values()) == 0
    set_value(taught.root / "curate.toml", "labelling.accepted_count", "true")
    opened = open_project(taught.root)
    with opened.database.read() as session:
        assert len(keeper_labels(session)) == 88 + len(taken)
    assert take_back(opened) == len(taken)
    with opened.database.read() as session:
        assert len(keeper_labels(session)) == 88
        assert len(unlabelled(session)) == 12
    opened.database.close()
    assert sum(accept(taught, 0.99, 0.0).accepted.values()) == len(taken)  # and a second time


def _sure(said: Prediction, thresholds: dict[str, Threshold]) -> bool:
    limit = thresholds[CLASSES[said.class_index]].score
    return limit is not None and said.score >= limit


def test_a_sample_goes_to_people_and_their_word_counts(taught: Project) -> None:
    """All of it asked for: the images stay in the queue; what people say is set beside what was accepted."""
    report = accept(taught, 0.99, 1.0)
    total = sum(report.accepted.values())
    assert report.to_check == total
    with taught.database.write() as session:
        asked = sorted(waiting(session))
        assert len(asked) == total
        assert set(asked) <= {image.id for image in unlabelled(session)}
        accepted = accepted_keepers(session)
        wrong = next(class_id for class_id in taught.classes(session).values() if class_id != accepted[asked[0]])
        people = [(asked[0], wrong), *((image, accepted[image]) for image in asked[1:])]
        record(session, [_person(image, class_id) for image, class_id in people])
        assert waiting(session) == {}
        assert session.get_one(Label, asked[0]).class_id == wrong
    checked = account(taught).checked
    assert (checked.hits, checked.of) == (total - 1, total)


def _person(image: int, class_id: int) -> Answer:
    return Answer(f"p{image}", AnnotationOrigin.LABEL_STUDIO, image, AnnotationState.ACTIVE, class_id, now())


def test_what_people_touched_is_left_to_them(taught: Project) -> None:
    """An image that somebody skipped is not taken from them."""
    with taught.database.write() as session:
        for image in unlabelled(session):
            skip = _person(image.id, 1)
            record(session, [Answer(skip.key, skip.origin, image.id, AnnotationState.SKIPPED, None, skip.answered_at)])
    assert accept(taught, 0.99, 0.0).accepted == {}


def test_the_command_tells_thresholds_and_what_they_prove(taught: Project, cli: Cli) -> None:
    """By class, in JSON and in words; what cannot be is one line."""
    found = cli("label", "accept", "--project", taught.root, "--json", check=True).json
    assert set(found["thresholds"]) == set(CLASSES)
    assert found["accepted"] == sum(found["classes"].values())
    assert all(0 < share < 1 for name, share in found["proved"].items() if found["thresholds"][name] is not None)
    assert found["counted"] is False
    undone = cli("label", "accept", "--undo", "--project", taught.root, "--json", check=True).json
    assert undone == {"withdrawn": found["accepted"]}
    refused = cli("label", "accept", "--run", "nothing", "--project", taught.root)
    assert (refused.code, refused.out) == (2, "")
    assert "nothing" in refused.err
