"""Rounds on record: each in the transaction that ends its run, from what is on record anyway; and what they foresee."""

import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from curate.ingest.folder import import_folder
from curate.project import Project
from curate.rounds import plot
from curate.rounds.account import LoopAccount, account
from curate.split import split
from curate.training import options_from, train_run
from db.models import Annotation, AnnotationOrigin, AnnotationRevision, LabellingProject, LabellingTask, Prelabel, Round
from db.models.base import now
from tests.conftest import Cli
from tests.pictures import write_folder
from tests.test_plots import opened

TRAIN = {
    "train__arch": '"squeezenet1_1"',
    "train__init": '"none"',
    "train__size": "32",
    "train__epochs": "1",
    "train__device": '"cpu"',
    "dataset__target": "12",
    "dataset__validation": "4",
}


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """Two classes, and a network that learns them in a second."""
    return make_project("Red", "Green", **TRAIN)


def take_in(project: Project, folder: Path, *seeds: range) -> None:
    """Import labelled pictures: these of each class in turn."""
    shutil.rmtree(folder, ignore_errors=True)
    write_folder(folder, dict(zip(("Red", "Green"), seeds, strict=True)))
    import_folder(project, folder, labels=True)


def learn(project: Project, seed: int = 1) -> str:
    """Split and train, as a round does; gives the run's name."""
    split(project)
    return train_run(project, options_from(project, seed=seed)).run


def test_a_round_is_on_record_with_its_run(project: Project, tmp_path: Path) -> None:
    """Labels, split, accuracy and recall of each class, and the classes that have their target."""
    take_in(project, tmp_path / "in", range(12), range(6))
    run = learn(project)
    (one,) = account(project).rounds
    assert (one.round, one.run, one.labelled, one.complete, one.learned, one.right.of) == (1, run, 18, 1, 12, 6)
    assert one.right.hits == round(one.validation_accuracy * 6)
    assert {name: share.of for name, share in one.recall.items()} == {"Red": 4, "Green": 2}
    assert sum(share.hits for share in one.recall.values()) == one.right.hits
    assert (one.prelabels_accepted, one.prelabels_shown, one.pushed, one.waited_seconds) == (None, 0, 0, None)
    assert one.training_seconds > 0


def test_labels_that_came_later_are_no_part_of_a_round(project: Project, tmp_path: Path) -> None:
    """What is labelled between a split and the end of its training belongs to the next round."""
    take_in(project, tmp_path / "in", range(6), range(6))
    split(project)
    take_in(project, tmp_path / "in", range(6, 9), range(6, 9))
    train_run(project, options_from(project))
    learn(project)
    assert [one.labelled for one in account(project).rounds] == [12, 18]


def test_a_further_seed_is_no_further_round(project: Project, tmp_path: Path) -> None:
    """A run that found no new label does not show; one after new labels does, even if they wait in reserve."""
    take_in(project, tmp_path / "in", range(12), range(12))
    first = learn(project)
    learn(project, seed=2)
    assert [one.run for one in account(project).rounds] == [first]
    take_in(project, tmp_path / "in", range(12, 14), range(12, 12))
    third = learn(project, seed=3)
    assert [(one.run, one.labelled) for one in account(project).rounds] == [(first, 24), (third, 26)]


def test_a_round_that_was_killed_after_its_training_is_not_lost(project: Project, tmp_path: Path, cli: Cli) -> None:
    """Killed when the network was written and its row was not: training again ends the run, and the round with it."""
    take_in(project, tmp_path / "in", range(6), range(6))
    split(project)
    killed = cli("train", "--project", project.root, env={"CURATE_FAULT": "run.before_row"})
    assert killed.code == -signal.SIGKILL
    assert account(project).rounds == []
    train_run(project, options_from(project))
    (one,) = account(project).rounds
    assert (one.labelled, one.right.of) == (12, 4)


def test_rounds_from_before_they_were_kept_are_told_too(project: Project, tmp_path: Path) -> None:
    """Without its row a round says the same, once it is asked for; without its files all but the recalls."""
    for last in (6, 8):
        take_in(project, tmp_path / "in", range(last), range(last))
        learn(project)
    before = [replace(one, strategy="") for one in account(project).rounds]
    with project.database.write() as session:
        session.execute(delete(Round))
    assert account(project).rounds == before
    with project.database.write() as session:
        session.execute(delete(Round))
    shutil.rmtree(project.runs)
    again = account(project).rounds
    assert [one.recall for one in again] == [{}, {}]
    assert [(one.labelled, one.right, one.learned) for one in again] == [
        (one.labelled, one.right, one.learned) for one in before
    ]


def answered(project: Project, *told: tuple[Prelabel, float]) -> None:
    """Let a person answer images, one after the other, each with what became of the pre-label, and the seconds."""
    with project.database.write() as session:
        desk = session.scalars(select(LabellingProject)).first() or LabellingProject(
            server="s", number=1, title="t", config_sha256=""
        )
        session.add(desk)
        session.flush()
        images = session.scalars(select(Annotation.image_id).order_by(Annotation.id)).all()
        begun = len(session.scalars(select(LabellingTask.id)).all())
        for place, (prelabel, seconds) in enumerate(told, begun):
            task = LabellingTask(project_id=desk.id, image_id=images[place], number=place, data_url="")
            session.add(task)
            session.flush()
            moment = now()
            said = {"state": "active", "class_id": 1, "answered_at": moment}
            revision = AnnotationRevision(number=1, prelabel=prelabel, lead_time=seconds, answer={}, **said)
            session.add(
                Annotation(
                    key=f"k{place}",
                    origin=AnnotationOrigin.LABEL_STUDIO,
                    image_id=images[place],
                    task_id=task.id,
                    revisions=[revision],
                    **said,
                )
            )


def test_answers_belong_to_the_round_that_learned_from_them(project: Project, tmp_path: Path) -> None:
    """Pre-labels that people kept, the time they took, and what was handed out, each counted in one round alone."""
    take_in(project, tmp_path / "in", range(8), range(8))
    answered(project, (Prelabel.NONE, 2.0), (Prelabel.NONE, 3.0))
    learn(project)
    answered(project, (Prelabel.ACCEPTED, 1.0), (Prelabel.CHANGED, 5.0), (Prelabel.ACCEPTED, 1.5))
    take_in(project, tmp_path / "in", range(8, 10), range(8, 10))
    learn(project)
    first, second = account(project).rounds
    assert (first.prelabels_shown, first.prelabels_accepted, first.labelling_seconds) == (0, None, 5.0)
    assert (second.prelabels_shown, second.prelabels_accepted, second.labelling_seconds) == (3, 2 / 3, 7.5)
    assert (first.pushed, second.pushed) == (3, 0)
    assert first.waited_seconds is not None
    assert second.waited_seconds is not None


@pytest.fixture
def five(project: Project, tmp_path: Path) -> LoopAccount:
    """Rounds of 4, 6, 8 and 10 labels a class; one class has no more than 8."""
    for last in (4, 6, 8, 10):
        take_in(project, tmp_path / "in", range(last), range(min(last, 8)))
        learn(project)
    return account(project)


def test_the_report_foresees_and_names_what_pays(five: LoopAccount) -> None:
    """Four rounds give the worth of what is left, at most 100; the short class lacks what it lacks."""
    assert five.rounds_missing == 0
    forecast = five.forecast
    assert forecast is not None
    assert (forecast.rounds, forecast.labels, forecast.whole, forecast.step) == (4, 18, 24, 6)
    assert forecast.gain.low <= forecast.gain.value <= forecast.gain.high
    assert 0 <= forecast.enough.low <= forecast.enough.high <= 6
    assert {one.name: one.lacks for one in five.classes} == {"Red": 2, "Green": 4}
    assert all(one.rise is not None for one in five.classes)


def test_another_network_begins_another_curve(five: LoopAccount, project: Project, cli: Cli) -> None:
    """Rounds of another size of pictures are shown, and no curve goes through both."""
    assert five.forecast is not None
    cli("config", "train.size", "48", "--project", project.root, check=True)
    cli("train", "--project", project.root, check=True)
    with project.database.write() as session:
        rounds = session.scalars(select(Round).order_by(Round.run_id)).all()
        rounds[-1].labelled += 1  # else a further run on the same labels
    found = account(project)
    assert (len(found.rounds), found.forecast, found.rounds_missing) == (5, None, 3)


def test_the_command_shows_the_rounds_and_draws_them(five: LoopAccount, project: Project, cli: Cli) -> None:
    """`status --loop` has a row a round and says what more labels are worth; `--plot` writes a PNG."""
    project.database.close()
    shown = cli("status", "--loop", "--project", project.root, check=True)
    assert f"the next 6 labels are worth about {five.forecast and five.forecast.gain.value:+.3f}" in shown.out
    assert all(one.run in shown.out for one in five.rounds)
    asked = cli("status", "--plot", "loop.png", "--json", "--project", project.root, check=True).json
    assert [one["run"] for one in asked["rounds"]] == [one.run for one in five.rounds]
    assert asked["rounds"][-1]["recall"]["Red"]["of"] == five.rounds[-1].recall["Red"].of
    assert asked["forecast"]["next"]["labels"] == 6
    assert opened(Path(asked["plot"]).read_bytes()).size > (600, 400)
    wrong = cli("status", "--plot", "loop.jpg", "--project", project.root)
    assert (wrong.code, "ends in .png" in wrong.err) == (2, True)


def test_the_same_rounds_draw_the_same_picture(five: LoopAccount) -> None:
    """The plot is a function of the rounds."""
    assert plot.draw(five) == plot.draw(five)


def test_nothing_on_record_is_told(project: Project, cli: Cli) -> None:
    """Before the first round the report says so, and its JSON has all its fields."""
    project.database.close()
    assert "no round yet" in cli("status", "--loop", "--project", project.root, check=True).out
    empty = cli("status", "--loop", "--json", "--project", project.root, check=True).json
    assert empty == {"rounds": [], "forecast": None, "rounds_missing": 4, "classes": []}
