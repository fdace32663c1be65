"""The policy `crowdlab`: a run's own view breaks ties of people, and those who are often wrong weigh less."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.edit import set_value
from curate.people import crowdlab
from curate.project import Project, open_project
from db.answers import LabelPolicy, Rule
from db.labels import record
from db.models import Label, Prediction, Run, RunState, Side, Snapshot, SnapshotItem
from tests.test_labels import GREEN, RED
from tests.test_policy import ANN, BOB, CAT, answer, labelled

CLASSES = (RED, GREEN, 3)


def crowd() -> tuple[list[int], dict[int, dict[str, int]], dict[int, NDArray[np.float64]]]:
    """200 images: ann is right nine times in ten, bob eight times, and so is the run."""
    rng = np.random.default_rng(0)
    truth = [int(label) for label in rng.choice(CLASSES, 200)]
    votes, probabilities = {}, {}

    def says(right: int, skill: float) -> int:
        return right if rng.random() < skill else int(rng.choice([c for c in CLASSES if c != right]))

    for image, right in enumerate(truth):
        votes[image] = {who: says(right, skill) for who, skill in (("ann", 0.9), ("bob", 0.8))}
        seen = says(right, 0.8)
        probabilities[image] = np.array([0.8 if c == seen else 0.1 for c in CLASSES])
    return truth, votes, probabilities


def test_it_finds_more_right_labels_than_either_person() -> None:
    """Two people and a run, none of them as good as all together."""
    truth, votes, probabilities = crowd()
    found = crowdlab.consensus(votes, probabilities, CLASSES)
    right = sum(found[image] == label for image, label in enumerate(truth))
    for who in ("ann", "bob"):
        assert right > sum(said[who] == label for said, label in zip(votes.values(), truth, strict=True))


TIES = [answer(i, RED, ANN, 1) for i in (1, 2, 3)]
TIES += [answer(1, GREEN, BOB, 2), answer(2, GREEN, BOB, 2), answer(3, RED, BOB, 2)]
"""Two people differ on two images of three."""


def predicted(session: Session, classes: tuple[str, ...], said: dict[int, list[float]]) -> Run:
    """Let a run of these classes have said something of images."""
    snapshot = Snapshot(content_sha256="0" * 64, seed=1, target=2, validation=1, classes=list(classes))
    session.add(snapshot)
    session.flush()
    run = Run(name="r", snapshot_id=snapshot.id, state=RunState.FINISHED, arch="x", options={}, classes=list(classes))
    session.add(run)
    session.flush()
    for image, probabilities in said.items():
        row = Prediction(run_id=run.id, image_id=image, class_index=1, score=1, outside=False)
        row.probabilities = probabilities
        session.add(row)
    return run


def settled(project: Project) -> Project:
    """The project under the policy, as the next command sees it."""
    set_value(project.root / "curate.toml", "labelling.policy", "crowdlab")
    opened = open_project(project.root)
    crowdlab.settle(opened)
    return opened


def classes_of(session: Session) -> dict[int, int | None]:
    """The class that each image counts as."""
    return {label.image_id: label.class_id for label in session.scalars(select(Label))}


def test_the_run_breaks_a_tie_unless_it_learned_from_the_image(project: Project) -> None:
    """Two people differ on two images of three; of the one that a run has predicted unseen, its word decides."""
    with labelled(project, LabelPolicy(Rule.CROWDLAB), *TIES) as session:
        sure = [0.02, 0.97, 0.01]
        run = predicted(session, ("Red", "Green", "Blue"), {1: sure, 2: sure, 3: [0.97, 0.02, 0.01]})
        session.add(SnapshotItem(snapshot_id=run.snapshot_id, image_id=2, class_index=1, side=Side.TRAIN))
        assert classes_of(session) == {1: None, 2: None, 3: RED}
    opened = settled(project)
    with opened.database.write() as session:
        assert classes_of(session) == {1: GREEN, 2: None, 3: RED}
        record(session, [answer(2, RED, CAT, 5)])  # a majority where no run has a word
        assert session.get_one(Label, 2).class_id == RED
    opened.database.close()


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("Green", "Red", "Blue"), {1: GREEN, 2: RED, 3: RED}),
        (("GREEN", "red", "Blue"), {1: GREEN, 2: RED, 3: RED}),
        (("Green", "Yellow", "Blue"), {1: None, 2: None, 3: RED}),
        (("Green", "Red", "Red"), {1: None, 2: None, 3: RED}),
    ],
)
def test_a_run_is_heard_by_the_names_of_its_classes(
    project: Project, classes: tuple[str, ...], expected: dict[int, int | None]
) -> None:
    """Classes that were put in another order since are found by name; a run of other classes has no word."""
    with labelled(project, LabelPolicy(Rule.CROWDLAB), *TIES) as session:
        first, second = [0.97, 0.02, 0.01], [0.02, 0.97, 0.01]
        predicted(session, classes, {1: first, 2: second, 3: second})
    opened = settled(project)
    with opened.database.read() as session:
        assert classes_of(session) == expected
    opened.database.close()


def test_other_policies_are_left_alone(project: Project) -> None:
    """Only where `curate.toml` names it does it decide anything."""
    with labelled(project, LabelPolicy(), answer(1, RED, ANN, 1), answer(1, GREEN, BOB, 2)):
        pass
    assert crowdlab.settle(project) == 0
    with project.database.read() as session:
        assert session.get_one(Label, 1).class_id == GREEN
