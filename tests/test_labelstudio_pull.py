"""`curate label pull`: what people answered, changed, skipped and deleted, each change on record."""

import pytest
from sqlalchemy import select

from curate import project as projects
from curate.forget import forget
from curate.labelling import Labelling
from curate.permission import Permission
from db.errors import LabelStudioError
from db.models import AnnotationState, Image, ImageState, LabellingTask, Quality, TaskState
from db.reasons import Reason
from tests.conftest import Cli
from tests.labelstudio import Desk, MakeDesk, result

ACTIVE, SKIPPED = AnnotationState.ACTIVE, AnnotationState.SKIPPED
UNUSABLE, DELETED = AnnotationState.UNUSABLE, AnnotationState.DELETED


def test_answers_become_labels_once(make_desk: MakeDesk) -> None:
    """Each answer is its image's label after a pull; pulling again changes no table."""
    desk = make_desk(4)
    desk.labelling.push()
    first, second, third, _ = [task["id"] for task in desk.remote()]
    desk.studio.annotate(first, "Red")
    desk.studio.annotate(second, "Blue")
    report = desk.labelling.pull()
    assert (report.created, report.updated, report.unusable) == (2, 0, {})
    assert desk.labels() == {desk.image_of(first): "Red", desk.image_of(second): "Blue"}
    before = desk.counts()
    assert desk.labelling.pull().annotations == 0
    assert desk.counts() == before
    desk.studio.annotate(third, "Green")
    assert desk.labelling.pull().created == 1
    assert desk.labels()[desk.image_of(third)] == "Green"


def test_a_label_brings_back_what_a_check_set_aside(make_desk: MakeDesk) -> None:
    """An image that was set aside after it had been handed out is in use again once a person has labelled it."""
    desk = make_desk(1)
    desk.labelling.push()
    with desk.project.database.write() as session:
        image = session.scalars(select(Image)).one()
        image.state, image.state_reason = ImageState.SET_ASIDE, Reason.BLURRED
        session.merge(Quality(image_id=image.id, method="", measures={}, finding=Reason.BLURRED))
    desk.studio.annotate(desk.task(), "Red")
    desk.labelling.pull()
    with desk.project.database.read() as session:
        assert session.scalars(select(Image.state)).one() is ImageState.STORED


def test_who_answered_and_how_long_it_took_is_kept(make_desk: MakeDesk) -> None:
    """The answer as it came is on record, with the person's number and seconds."""
    desk = make_desk(1)
    desk.labelling.push()
    desk.studio.annotate(desk.task(), "Red", lead_time=2.5)
    desk.labelling.pull()
    (annotation,) = desk.annotations()
    (revision,) = annotation.revisions
    person = desk.studio.ask("GET", "/api/current-user/whoami")["id"]
    assert (revision.annotator, revision.lead_time) == (str(person), 2.5)
    assert [part["value"] for part in revision.answer["result"]] == [{"choices": ["Red"]}]


def test_a_changed_answer_is_a_new_revision(make_desk: MakeDesk) -> None:
    """The label follows the change, and what was said before stays in the history."""
    desk = make_desk(1)
    desk.labelling.push()
    answer = desk.studio.annotate(desk.task(), "Red")
    desk.labelling.pull()
    desk.studio.edit(answer, "Green")
    report = desk.labelling.pull()
    assert (report.created, report.updated) == (0, 1)
    assert list(desk.labels().values()) == ["Green"]
    (annotation,) = desk.annotations()
    said = [revision.answer["result"][0]["value"]["choices"] for revision in annotation.revisions]
    assert said == [["Red"], ["Green"]]
    before = desk.counts()
    desk.labelling.pull()
    assert desk.counts() == before


def test_a_deleted_answer_takes_its_label_along(make_desk: MakeDesk) -> None:
    """It stays on record as deleted; the image can be answered again in the same task."""
    desk = make_desk(1)
    desk.labelling.push()
    desk.studio.delete("annotations", desk.studio.annotate(desk.task(), "Red"))
    desk.studio.annotate(desk.task(), "Red")
    desk.labelling.pull()
    (answer,) = desk.remote()[0]["annotations"]
    desk.studio.delete("annotations", answer["id"])
    assert desk.labelling.pull().updated == 1
    (annotation,) = desk.annotations()
    assert ([r.state for r in annotation.revisions], desk.labels()) == ([ACTIVE, DELETED], {})
    desk.studio.annotate(desk.task(), "Blue")
    desk.labelling.pull()
    assert list(desk.labels().values()) == ["Blue"]


def test_a_skip_is_an_answer_and_no_label(make_desk: MakeDesk) -> None:
    """A skipped image is not pushed again, though it has no label; a skip that is taken back counts."""
    desk = make_desk(1)
    desk.labelling.push()
    skipped = desk.studio.annotate(desk.task(), "Red", was_cancelled=True)
    desk.labelling.pull()
    assert (desk.states(), desk.labels()) == ([SKIPPED], {})
    assert desk.labelling.push().created == 0
    desk.studio.ask("PATCH", f"/api/annotations/{skipped}/", json={"was_cancelled": False, "result": result("Red")})
    desk.labelling.pull()
    assert (desk.states(), list(desk.labels().values())) == ([ACTIVE], ["Red"])


def test_what_cannot_be_used_is_told_every_time(make_desk: MakeDesk, cli: Cli) -> None:
    """An empty answer, two choices, and an unknown class are kept without a label; the exit code is 1 until mended."""
    desk = make_desk(4)
    desk.labelling.push()
    tasks = [task["id"] for task in desk.remote()]
    for task, choices in zip(tasks, [(), ("Red", "Blue"), ("Purple",), ("Red",)], strict=True):
        desk.studio.annotate(task, *choices)
    expected = {"[]": 1, '["Red", "Blue"]': 1, '["Purple"]': 1}
    assert desk.labelling.pull().unusable == expected
    ran = cli("label", "pull", "--project", desk.root, "--json", env=desk.env)
    assert (ran.code, ran.json["unusable"]) == (1, expected)
    assert (desk.states(), list(desk.labels().values())) == ([UNUSABLE, UNUSABLE, UNUSABLE, ACTIVE], ["Red"])
    for task in desk.remote()[:3]:
        desk.studio.edit(task["annotations"][0]["id"], "Green")
    assert desk.labelling.pull().unusable == {}
    assert sorted(desk.labels().values()) == ["Green", "Green", "Green", "Red"]


def test_what_nobody_can_mend_is_told_no_longer(make_desk: MakeDesk, cli: Cli) -> None:
    """A task that was deleted, an image that was forgotten, a project that is gone; a new class mends the rest."""
    desk = make_desk(4)
    desk.labelling.push(3)
    team = desk.labelling.start(name="Team").projects[1].project
    desk.labelling.push(name="Team")
    first, second, third = (task["id"] for task in desk.remote())
    (fourth,) = (task["id"] for task in desk.studio.tasks(team))
    for task in (first, second, third, fourth):
        desk.studio.annotate(task, "Purple")
    assert desk.labelling.pull().unusable == {'["Purple"]': 4}
    forgotten = desk.image_of(second)
    desk.studio.delete("tasks", first)
    forget(desk.project, str(forgotten), desk.labelling)
    desk.studio.delete("projects", team)
    for more in ((), ("--dry-run",)):
        ran = cli("label", "pull", *more, "--project", desk.root, "--json", env=desk.env)
        assert ran.json["unusable"] == {'["Purple"]': 1}
    desk.studio.delete("annotations", desk.remote()[0]["annotations"][0]["id"])
    ran = cli("label", "pull", "--project", desk.root, "--json", env=desk.env)
    assert (ran.code, ran.json["unusable"]) == (0, {})
    again = reopened(desk, 'name = "Red"', 'name = "Red"\n\n[[classes]]\nname = "Purple"')
    again.labelling.pull()
    assert again.labels() == {desk.image_of(first): "Purple", desk.image_of(fourth): "Purple"}
    again.project.database.close()


def test_an_unknown_class_counts_once_it_is_known(make_desk: MakeDesk) -> None:
    """An answer that named a class before curate.toml had it becomes a label by itself."""
    desk = make_desk(1)
    desk.labelling.push()
    desk.studio.annotate(desk.task(), "Purple")
    assert desk.labelling.pull().unusable == {'["Purple"]': 1}
    again = reopened(desk, 'name = "Red"', 'name = "Red"\n\n[[classes]]\nname = "Purple"')
    again.labelling.start()
    report = again.labelling.pull()
    assert (report.updated, report.unusable, list(again.labels().values())) == (1, {}, ["Purple"])
    (annotation,) = again.annotations()
    assert [revision.state for revision in annotation.revisions] == [UNUSABLE, ACTIVE]
    again.project.database.close()


def test_a_class_spelt_in_another_case_keeps_its_answers(make_desk: MakeDesk) -> None:
    """After `Red` became `RED` in curate.toml, the page offers the new name, and old answers still count."""
    desk = make_desk(2)
    desk.labelling.push()
    first, second = (task["id"] for task in desk.remote())
    desk.studio.annotate(first, "Red")
    desk.labelling.pull()
    again = reopened(desk, 'name = "Red"', 'name = "RED"')
    again.labelling.start()
    desk.studio.annotate(second, "RED")
    assert again.labelling.pull().unusable == {}
    assert list(again.labels().values()) == ["RED", "RED"]
    again.project.database.close()


def reopened(desk: Desk, old: str, new: str) -> Desk:
    """The dataset after somebody edited its curate.toml."""
    file = desk.root / "curate.toml"
    file.write_text(file.read_text().replace(old, new))
    project = projects.open_project(desk.root)
    return Desk(project, Labelling(project, desk.labelling.environment), desk.studio)


def test_results_of_any_shape_are_survived(make_desk: MakeDesk) -> None:
    """The API keeps nearly any JSON as a result: what is no choice is told, and stops nothing."""
    odd: list[list[object]] = [[1, "x"], [{"from_name": "class"}], [{"from_name": "class", "value": {"choices": 5}}]]
    odd.append([{**result("Red")[0], "value": "Red"}])
    desk = make_desk(1)
    desk.labelling.push()
    path = f"/api/tasks/{desk.task()}/annotations/"
    for one in odd:
        desk.studio.http.post(path, json={"result": one})
    kept = len(desk.remote()[0]["annotations"])  # some of what it answers 500 to, too
    desk.studio.annotate(desk.task(), "Red")
    assert desk.labelling.pull().unusable == {"[]": kept}
    assert list(desk.labels().values()) == ["Red"]


def test_of_several_answers_the_latest_counts(make_desk: MakeDesk) -> None:
    """Whoever answered or changed an answer last decides; all answers stay on record."""
    desk = make_desk(1)
    desk.labelling.push()
    first = desk.studio.annotate(desk.task(), "Red")
    desk.studio.annotate(desk.task(), "Green")
    desk.labelling.pull()
    assert list(desk.labels().values()) == ["Green"]
    desk.studio.edit(first, "Blue")
    desk.labelling.pull()
    assert (list(desk.labels().values()), desk.states()) == (["Blue"], [ACTIVE, ACTIVE])
    desk.studio.delete("annotations", first)
    desk.labelling.pull()
    assert list(desk.labels().values()) == ["Green"]


def test_a_deleted_task_is_a_tombstone(make_desk: MakeDesk) -> None:
    """Its label stays; a task that somebody made by hand is none of ours."""
    desk = make_desk(3)
    desk.labelling.push()
    first = desk.task()
    desk.studio.annotate(first, "Red")
    desk.labelling.pull()
    data = [{"data": {"image": "http://127.0.0.1/none.jpg"}}]
    desk.studio.ask("POST", f"/api/projects/{desk.number}/import", json=data)
    desk.studio.delete("tasks", first)
    by_hand = desk.task(-1)
    desk.studio.annotate(by_hand, "Blue")
    report = desk.labelling.pull()
    assert (report.tasks_gone, report.annotations, list(desk.labels().values())) == (1, 0, ["Red"])
    with desk.project.database.read() as session:
        states = session.scalars(select(LabellingTask.state).order_by(LabellingTask.id)).all()
    assert sorted(states) == [TaskState.GONE, TaskState.THERE, TaskState.THERE]
    before = desk.counts()
    assert desk.labelling.pull().tasks_gone == 0
    assert desk.counts() == before


@pytest.mark.parametrize(
    ("action", "what", "accepted"),
    [("delete_tasks", "tasks", (21, 0, 21)), ("delete_tasks_annotations", "answers", (0, 21, 0))],
)
def test_nothing_is_deleted_in_mass_unasked(
    make_desk: MakeDesk, action: str, what: str, accepted: tuple[int, int, int]
) -> None:
    """When all tasks or all answers are gone at once, a pull stops and changes nothing until it is told to go on."""
    desk = make_desk(21)
    desk.labelling.push()
    for task in desk.remote():
        desk.studio.annotate(task["id"], "Red")
    assert desk.labelling.pull().created == 21
    desk.studio.delete_all(desk.number, action)
    before = desk.counts()
    for _ in range(2):
        with pytest.raises(LabelStudioError, match=f"21 of 21 {what} are no longer .*--accept-deletions"):
            desk.labelling.pull()
    assert (desk.counts(), len(desk.labels())) == (before, 21)
    done = desk.labelling.pull(accept_deletions=True)
    assert (done.tasks_gone, done.updated, len(desk.labels())) == accepted


def test_a_project_deleted_by_hand_costs_nothing(make_desk: MakeDesk, cli: Cli) -> None:
    """Pull and push say what to do and keep every label; then a new project takes what is still unlabelled."""
    desk = make_desk(3)
    desk.labelling.push()
    desk.studio.annotate(desk.task(), "Red")
    desk.labelling.pull()
    desk.studio.delete("projects", desk.number)
    before = desk.counts()
    ran = cli("label", "pull", "--project", desk.root, "--accept-deletions", env=desk.env)
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "`curate label start --new-project` makes a new one" in ran.err
    for command in (desk.labelling.push, desk.labelling.pull, desk.labelling.open):
        with pytest.raises(LabelStudioError, match="no longer has project"):
            command()
    assert (desk.counts(), list(desk.labels().values())) == (before, ["Red"])
    desk.labelling.start(may=Permission(given=True))
    assert desk.labelling.push().created == 2
    desk.studio.annotate(desk.task(), "Blue")
    desk.labelling.pull()
    assert sorted(desk.labels().values()) == ["Blue", "Red"]


def test_a_killed_pull_is_finished_by_the_next(make_desk: MakeDesk, cli: Cli) -> None:
    """Killed after the answers were read and before that was noted: the next pull ends where this one would have."""
    desk = make_desk(3)
    desk.labelling.push()
    answer = desk.studio.annotate(desk.task(0), "Red")
    desk.labelling.pull()
    desk.studio.edit(answer, "Green")
    desk.studio.annotate(desk.task(1), "Blue")
    killed = cli("label", "pull", "--project", desk.root, env=desk.env | {"CURATE_FAULT": "pull.read"})
    assert killed.code == -9
    desk.labelling.pull()
    assert [len(annotation.revisions) for annotation in desk.annotations()] == [2, 1]
    assert sorted(desk.labels().values()) == ["Blue", "Green"]
    before = desk.counts()
    assert desk.labelling.pull().annotations == 0
    assert desk.counts() == before
