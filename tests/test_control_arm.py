"""The control arm: what is handed out at random is on record, and compared with what a strategy chose."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.edit import set_value
from curate.labelling import Labelling
from curate.people.account import account
from curate.project import Project, open_project
from curate.select import choose
from curate.share import Share, difference
from db.answers import LabelPolicy
from db.labels import record
from db.models import LabellingTask, Prelabel, Run, Side, SnapshotItem, TaskState
from tests.conftest import Cli
from tests.labelstudio import MakeDesk
from tests.test_labelling_account import given
from tests.test_labels import GREEN, RED, add_image
from tests.test_policy import ANN, labelled
from tests.test_select import add_run, predict


def handed_out(session: Session, control: set[int]) -> None:
    """Ten images with people, of which these were drawn at random."""
    for number in range(4, 11):
        add_image(session, number)
        session.add(LabellingTask(id=number, project_id=1, image_id=number, data_url=""))
    session.flush()
    for task in session.scalars(select(LabellingTask)):
        task.state, task.control = TaskState.THERE, task.image_id in control


def test_arms_are_counted_apart(project: Project, cli: Cli) -> None:
    """Pre-labels by the first answers; the model by what it said of images that its split does not have."""
    with labelled(project, LabelPolicy()) as session:
        handed_out(session, {1, 2, 3, 4})
        accepted, changed = Prelabel.ACCEPTED, Prelabel.CHANGED
        said = [(1, RED, accepted), (2, RED, accepted), (3, GREEN, changed), (5, RED, changed), (6, RED, accepted)]
        record(session, [given(number, class_id, ANN, number, what) for number, class_id, what in said])
    run = add_run(project, "r1", 1, 0.5, 50)
    predict(project, run, dict.fromkeys((1, 2, 3, 5, 6), (0, 0.6)))
    with project.database.write() as session:
        snapshot = session.get_one(Run, run).snapshot_id
        session.add(SnapshotItem(snapshot_id=snapshot, image_id=2, class_index=0, side=Side.TRAIN))
    found = account(project).arms
    assert found is not None
    assert (found.run, found.control.answered, found.chosen.answered) == ("r1", 3, 2)
    assert (found.control.accepted, found.chosen.accepted) == (Share(2, 3), Share(1, 2))
    assert (found.control.right, found.chosen.right) == (Share(1, 2), Share(2, 2))
    told = cli("status", "--labelling", "--json", "--project", project.root, check=True).json["arms"]
    assert told["run"] == "r1"
    assert (told["control"]["right"]["hits"], told["control"]["right"]["of"]) == (1, 2)
    assert told["chosen"]["accepted"]["value"] == 0.5
    text = cli("status", "--labelling", "--project", project.root, check=True).out
    assert "drawn at random: 3 images answered" in text
    assert "run r1 is right, on what it did not learn from: 1 of 2, 0.500 (" in text


def test_without_a_control_arm_nothing_is_compared(project: Project, cli: Cli) -> None:
    """Nothing was drawn at random: no figures, and no line."""
    with labelled(project, LabelPolicy(), given(1, RED, ANN, 1)):
        pass
    assert account(project).arms is None
    ran = cli("status", "--labelling", "--project", project.root, check=True)
    assert "drawn at random" not in ran.out


def test_a_push_records_what_was_drawn_at_random(make_desk: MakeDesk) -> None:
    """The tasks of the control arm are those that the queue said it would draw; the page shows no difference."""
    desk = make_desk(12)
    set_value(desk.root / "curate.toml", "queue.control", "0.3")
    project = open_project(desk.root)
    wanted = {choice.id: choice.control for choice in choose(project, 8)}
    assert 0 < sum(wanted.values()) < 8
    again = Labelling(project, desk.labelling.environment)
    assert again.push(8).created == 8
    with project.database.read() as session:
        tasks = session.execute(select(LabellingTask.image_id, LabellingTask.control)).all()
    assert {row[0]: row[1] for row in tasks} == wanted
    assert {frozenset(task["data"]) for task in desk.remote()} == {frozenset({"image", "image_id"})}
    project.database.close()


def test_a_difference_of_nothing_is_none() -> None:
    """Where an arm has no answer yet there is nothing to tell."""
    assert difference(Share(1, 2), Share(0, 0)) is None
    found = difference(Share(56, 70), Share(48, 80))
    assert found == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
