"""Pre-labels: what a run predicts is what people see selected, and what they did with it is on record."""

from typing import Any

import pytest

from db.models import Other, Prelabel
from tests.conftest import Cli
from tests.labelstudio import Desk, MakeDesk


@pytest.fixture
def desk(make_desk: MakeDesk) -> Desk:
    """Three images that are on the server, and a run that has an answer for each."""
    desk = make_desk(3)
    desk.labelling.push()
    desk.predict("run-1", *zip(desk.images(), ("Red", "Green", "Blue"), (0.9, 0.4, 0.7), strict=True))
    return desk


def shown(desk: Desk) -> dict[int, list[tuple[str, float, str]]]:
    """Class, score and version of each prediction on the server, by image."""
    return {
        task["data"]["image_id"]: [
            (p["result"][0]["value"]["choices"][0], round(p["score"], 6), p["model_version"])
            for p in sorted(task["predictions"], key=lambda p: int(p["id"]))
        ]
        for task in desk.remote()
    }


def settings(desk: Desk) -> dict[str, Any]:
    """The project's settings on the server."""
    found: dict[str, Any] = desk.studio.ask("GET", f"/api/projects/{desk.number}/")
    return found


def test_predictions_are_shown_once(desk: Desk) -> None:
    """Each task carries class, score and run; the least sure comes first; sending them again changes nothing."""
    assert desk.labelling.push_prelabels("run-1") == 3
    first, second, third = desk.images()
    expected = {first: [("Red", 0.9, "run-1")], second: [("Green", 0.4, "run-1")], third: [("Blue", 0.7, "run-1")]}
    assert shown(desk) == expected
    page = settings(desk)
    assert (page["model_version"], page["sampling"]) == ("run-1", "Uncertainty sampling")
    assert page["show_collab_predictions"] is True
    before = desk.counts()
    assert desk.labelling.push_prelabels("run-1") == 0
    assert desk.labelling.push().prelabelled == 0
    assert (shown(desk), desk.counts()) == (expected, before)
    following = desk.studio.ask("GET", f"/api/projects/{desk.number}/next")
    assert following["data"]["image_id"] == second


def test_a_push_takes_the_best_run_along(make_desk: MakeDesk) -> None:
    """Where a run has answers already, new tasks come with their pre-labels."""
    desk = make_desk(2)
    desk.predict("run-1", *[(image, "Green", 0.5) for image in desk.images()])
    report = desk.labelling.push()
    assert (report.created, report.prelabelled) == (2, 2)
    assert set(shown(desk)) == set(desk.images())


def test_what_became_of_a_prelabel_is_on_record(desk: Desk) -> None:
    """Accepted and changed are told apart, by the page's own word or by comparing; a skip counts as no label."""
    desk.labelling.push_prelabels("run-1")
    accepted, changed, alone = desk.remote()
    for task, choice in ((accepted, None), (changed, "Red")):
        (prediction,) = task["predictions"]
        said = choice or prediction["result"][0]["value"]["choices"][0]
        desk.studio.annotate(task["id"], said, parent_prediction=prediction["id"])
    desk.studio.annotate(alone["id"], "Red")
    desk.labelling.pull()
    found = {a.image_id: a.revisions[-1].prelabel for a in desk.annotations()}
    assert found == {
        accepted["data"]["image_id"]: Prelabel.ACCEPTED,
        changed["data"]["image_id"]: Prelabel.CHANGED,
        alone["data"]["image_id"]: Prelabel.NONE,
    }


def test_a_new_run_takes_over(desk: Desk) -> None:
    """The newer run's predictions become what the page shows; labelled images get none."""
    desk.labelling.push_prelabels("run-1")
    done, *waiting = desk.remote()
    desk.studio.annotate(done["id"], "Red")
    desk.labelling.pull()
    desk.predict("run-2", *[(image, "Blue", 0.6) for image in desk.images()])
    assert desk.labelling.push_prelabels("run-2") == 2
    assert settings(desk)["model_version"] == "run-2"
    assert {shown(desk)[task["data"]["image_id"]][-1] for task in waiting} == {("Blue", 0.6, "run-2")}
    assert len(shown(desk)[done["data"]["image_id"]]) == 1


def test_killed_prelabels_are_not_doubled(desk: Desk, cli: Cli) -> None:
    """Killed after they were sent and before that was noted: the next push leaves one of each."""
    killed = cli("label", "push", "--project", desk.root, env=desk.env | {"CURATE_FAULT": "prelabels.sent"})
    assert killed.code == -9
    assert len(shown(desk)[desk.images()[0]]) == 1
    assert desk.labelling.push().prelabelled == 3
    assert [len(predictions) for predictions in shown(desk).values()] == [1, 1, 1]
    assert desk.labelling.push().prelabelled == 0


def test_a_task_deleted_meanwhile_holds_nothing_up(desk: Desk) -> None:
    """Pre-labels for the tasks that are left go out, though one task was deleted there since the last pull."""
    desk.studio.delete("tasks", desk.task())
    assert desk.labelling.push_prelabels("run-1") == 2
    assert [len(predictions) for predictions in shown(desk).values()] == [1, 1]
    assert desk.labelling.push_prelabels("run-1") == 0


def test_prelabels_that_somebody_removed_come_back(desk: Desk) -> None:
    """After the predictions were deleted in Label Studio, the next push brings them anew."""
    desk.labelling.push_prelabels("run-1")
    desk.studio.delete_all(desk.number, "delete_tasks_predictions")
    assert desk.labelling.push().prelabelled == 3
    assert [len(predictions) for predictions in shown(desk).values()] == [1, 1, 1]


NAMES = (
    "<b>\"A\" & 'B'<br>",
    "=cmd()|' C calc'!A0",
    "\N{GUITAR} \N{REGIONAL INDICATOR SYMBOL LETTER F}\N{REGIONAL INDICATOR SYMBOL LETTER R}",
    "\N{HEBREW LETTER GIMEL}\N{HEBREW LETTER YOD} abc",
    "Cafe\u0301 Gu\u0308nther",
    "$image",
    "{choices} %s &amp;",
    "a, b; c",
)


def test_class_names_of_any_kind_survive(make_desk: MakeDesk) -> None:
    """Markup, formulas, emoji, right-to-left: what the page offers, shows and gives back is the class itself."""
    desk = make_desk(len(NAMES), *NAMES)
    names = [c.name for c in desk.project.settings.classes]
    desk.predict("run-1", *[(image, name, 0.5) for image, name in zip(desk.images(), names, strict=True)])
    assert desk.labelling.push().prelabelled == len(NAMES)
    offered = settings(desk)["parsed_label_config"]["class"]["labels"]
    assert offered == [*names, *(other.caption for other in Other)]
    expected = dict(zip(desk.images(), names, strict=True))
    assert {image: predictions[0][0] for image, predictions in shown(desk).items()} == expected
    for task in desk.remote():
        desk.studio.annotate(task["id"], expected[task["data"]["image_id"]])
    assert desk.labelling.pull().unusable == {}
    assert desk.labels() == expected
