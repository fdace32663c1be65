"""What to label next, which run answers, and how it is counted."""

from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from sqlalchemy import select

from curate import runs
from curate.ingest.folder import import_folder
from curate.project import Project
from curate.select import choose
from curate.status import status
from db.errors import DatasetError
from db.models import Image, Prediction, Run, RunState, Snapshot
from tests.conftest import Cli
from tests.pictures import write_folder
from trainer.intervals import wilson


@pytest.fixture
def waiting(make_project: Callable[..., Project], tmp_path: Path) -> Project:
    """Two labelled Reds of two wanted, and twelve pictures without a label."""
    project = make_project("Red", "Green", "Blue", dataset__target="2", dataset__validation="1")
    import_folder(project, write_folder(tmp_path / "in", {"Red": range(2)}), labels=True)
    import_folder(project, write_folder(tmp_path / "new", {"x": range(100, 112)}), labels=False)
    return project


def add_run(project: Project, name: str, snapshot: int, accuracy: float, images: int, **more: object) -> int:
    """A finished run."""
    values = {"state": RunState.FINISHED, "classes": ["Red", "Green", "Blue"]} | more
    with project.database.write() as session:
        if session.get(Snapshot, snapshot) is None:
            facts = {"content_sha256": f"{snapshot:064}", "seed": 1, "target": 2, "validation": 1}
            session.add(Snapshot(id=snapshot, classes=["Red", "Green", "Blue"], **facts))
            session.flush()
        run = Run(name=name, snapshot_id=snapshot, arch="x", options={}, validation_accuracy=accuracy, **values)
        run.validation_images = images
        session.add(run)
        session.flush()
        return run.id


def predict(project: Project, run_id: int, scores: dict[int, tuple[int, float]], outside: Collection[int] = ()) -> None:
    """Predictions by image: class index and score; the other two classes share the rest."""
    with project.database.write() as session:
        for image_id, (index, score) in scores.items():
            said = {"class_index": index, "score": score, "outside": image_id in outside}
            shares = [score if place == index else (1 - score) / 2 for place in range(3)]
            session.add(Prediction(run_id=run_id, image_id=image_id, probabilities=shares, **said))


def unlabelled_ids(project: Project) -> list[int]:
    """The twelve."""
    with project.database.read() as session:
        return list(session.scalars(select(Image.id).where(Image.id > 2).order_by(Image.id)))


def test_least_sure_of_the_short_classes_come_first(waiting: Project) -> None:
    """A class that has its target waits; among the others those come first that the run is least decided about."""
    ids = unlabelled_ids(waiting)
    run = add_run(waiting, "r1", 1, 0.5, 10)
    scores = {n: (i % 3, 0.4 + 0.04 * i) for i, n in enumerate(ids)}
    predict(waiting, run, scores)
    chosen = choose(waiting, 4)
    assert [choice.score for choice in chosen] == sorted(choice.score or 0 for choice in chosen)
    assert [scores[c.id][0] for c in chosen] == [1, 2, 1, 2]
    assert chosen[0].why.startswith("undecided; Green at 0.44, which lacks 2 of 2, before ")
    assert [scores[c.id][0] for c in choose(waiting, 12)].count(0) == 4


def test_without_a_run_the_query_that_found_an_image_stands_for_it(waiting: Project) -> None:
    """The order is the same every time, and the reason says that nothing was predicted."""
    with waiting.database.write() as session:
        ids = waiting.classes(session)
        for number in unlabelled_ids(waiting)[:3]:
            session.get_one(Image, number).collected_for_id = ids["Blue"]
    first, again = choose(waiting, 12), choose(waiting, 12)
    assert first == again
    assert len(first) == 12
    reasons = [choice.why for choice in first]
    assert sum("collected for Blue, which lacks 2 of 2" in why for why in reasons) == 3
    assert sum("nothing is known" in why for why in reasons) == 9


def test_what_is_excluded_is_not_chosen(waiting: Project) -> None:
    """Images that are with people already are left out, and what is labelled is never chosen."""
    ids = unlabelled_ids(waiting)
    assert {choice.id for choice in choose(waiting, 99, exclude=ids[:5])} == set(ids[5:])


def test_images_whose_copies_disagree_say_so(waiting: Project, tmp_path: Path) -> None:
    """An image that lies in the folders of two classes waits for a person, and that is the reason given."""
    folder = write_folder(tmp_path / "both", {"Red": range(200, 201)})
    (folder / "Blue").mkdir()
    (folder / "Blue" / "same.jpg").write_bytes((folder / "Red" / "200.jpg").read_bytes())
    import_folder(waiting, folder, labels=True)
    reasons = [choice.why for choice in choose(waiting, 99)]
    assert reasons.count("labels of its copies differ") == 1


def test_the_newest_splits_best_run_answers(project: Project) -> None:
    """Among runs on one split accuracy decides; a newer split's run outranks an older one that is not surely better."""
    add_run(project, "lucky", 1, 1.0, 5)
    add_run(project, "poor", 2, 0.6, 50)
    add_run(project, "good", 2, 0.8, 50)
    with project.database.read() as session:
        assert runs.choose(session, None, ["Red", "Green", "Blue"]).name == "good"
        assert runs.choose(session, "poor", ["Red", "Green", "Blue"]).name == "poor"


def test_a_run_that_is_surely_worse_does_not_take_over(project: Project) -> None:
    """A short trial on a new split does not replace a good model."""
    add_run(project, "good", 1, 0.95, 650)
    add_run(project, "trial", 2, 0.5, 650)
    with project.database.read() as session:
        assert runs.choose(session, None, ["Red", "Green", "Blue"]).name == "good"


def test_runs_that_cannot_answer_are_told(project: Project) -> None:
    """No run, a run of other classes, one that is not finished, one that cannot be, one that is not there."""
    add_run(project, "other", 1, 1.0, 5, classes=["Cat", "Dog"])
    add_run(project, "stopped", 1, 1.0, 5, state=RunState.RUNNING)
    add_run(project, "failed", 1, 1.0, 5, state=RunState.FAILED, problem="the loss is no number")
    told = {None: "curate train", "stopped": "--resume", "failed": "the loss is no number", "nosuch": "is: other"}
    with project.database.read() as session:
        for name, words in told.items():
            with pytest.raises(DatasetError, match=words):
                runs.choose(session, name, ["Red", "Green", "Blue"])


def test_a_run_that_may_have_been_stopped_is_not_said_to_be_running(project: Project, cli: Cli) -> None:
    """Its row is the same, whether somebody is at it or nobody."""
    add_run(project, "stopped", 1, 1.0, 5, state=RunState.RUNNING)
    assert "run stopped: not finished on split 1" in cli("status", "--project", project.root, check=True).out


def test_a_run_is_known_by_its_number(project: Project) -> None:
    """`0002` and `2` are the run whose name begins so, and 22 is not."""
    for number in (2, 22):
        add_run(project, f"{number:04}-resnet50", 1, 0.5, 5)
    with project.database.read() as session:
        for name in ("0002-resnet50", "0002", "2"):
            assert runs.choose(session, name, ["Red", "Green", "Blue"]).name == "0002-resnet50"


def test_status_shows_which_run_answers(project: Project) -> None:
    """Exactly one run is marked."""
    add_run(project, "a", 1, 0.5, 5)
    add_run(project, "b", 1, 0.9, 5)
    assert [(run.name, run.best) for run in status(project).runs] == [("a", False), ("b", True)]


def test_wilson_intervals_are_the_published_ones() -> None:
    """Against values computed elsewhere (Newcombe 1998, table I)."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
