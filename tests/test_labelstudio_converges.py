"""Push, pull and pre-labels through a network that breaks everything at random, while people work: both sides agree."""

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import func, select

from curate.forget import forget
from curate.handout import Which
from curate.ingest.folder import import_folder
from db.errors import LabelStudioError
from db.models import Annotation, AnnotationState, Image, ImageState, LabellingProject, LabellingTask, Run, TaskState
from tests.labelstudio import Desk, MakeDesk, result
from tests.mischief import mischief
from tests.pictures import jpeg
from tests.test_labelstudio_faults import at

CLASSES = ("Red", "Green", "Blue")
EXPERTS = "experts"
FEW = 4
"""Tasks that people leave in any case: where none is left, a push asks whether the server was reset."""


class People:
    """Who work in Label Studio itself: they answer, edit, skip, and delete answers, tasks and predictions."""

    def __init__(self, desk: Desk, rng: random.Random) -> None:
        self.desk = desk
        self.rng = rng

    def work(self) -> None:
        """Do a few things, each likely or not as with people."""
        acts: list[tuple[Callable[[dict[str, Any], int], None], int]] = [
            (self.answer, 10),
            (self.edit, 6),
            (self.skip, 2),
            (self.take_back, 3),
            (self.delete_answer, 3),
            (self.delete_task, 1),
            (self.copy_task, 1),
            (self.delete_predictions, 1),
        ]
        for act in self.rng.choices([act for act, _ in acts], [weight for _, weight in acts], k=self.rng.randint(1, 5)):
            numbers = [one.project for one in self.desk.labelling.status().projects]
            project = self.rng.choice(numbers)
            tasks = self.desk.studio.tasks(project)
            if tasks and (act != self.delete_task or len(tasks) > FEW):
                act(self.rng.choice(tasks), project)

    def said(self) -> tuple[str, ...]:
        """A choice, now and then one that is no class of ours, or two at once."""
        return self.rng.choice([(c,) for c in CLASSES] * 4 + [("Purple",), ("Red", "Blue"), ()])

    def answer(self, task: dict[str, Any], _project: int) -> None:
        """Answer a task, having seen a pre-label or not."""
        shown = self.rng.choice(task["predictions"])["id"] if task["predictions"] else None
        self.desk.studio.annotate(task["id"], *self.said(), parent_prediction=shown)

    def edit(self, task: dict[str, Any], _project: int) -> None:
        """Change an answer."""
        for annotation in task["annotations"][:1]:
            self.desk.studio.edit(annotation["id"], *self.said())

    def skip(self, task: dict[str, Any], _project: int) -> None:
        """Skip a task."""
        self.desk.studio.annotate(task["id"], "Red", was_cancelled=True)

    def take_back(self, task: dict[str, Any], _project: int) -> None:
        """Turn an answer into a skip, or a skip into an answer."""
        for annotation in task["annotations"][-1:]:
            body = {"was_cancelled": not annotation["was_cancelled"], "result": result(*self.said())}
            self.desk.studio.ask("PATCH", f"/api/annotations/{annotation['id']}/", json=body)

    def delete_answer(self, task: dict[str, Any], _project: int) -> None:
        """Delete one of its answers."""
        for annotation in self.rng.sample(task["annotations"], min(1, len(task["annotations"]))):
            self.desk.studio.delete("annotations", annotation["id"])

    def delete_task(self, task: dict[str, Any], _project: int) -> None:
        """Delete a task."""
        self.desk.studio.delete("tasks", task["id"])

    def copy_task(self, task: dict[str, Any], project: int) -> None:
        """Import a task once more."""
        query = {"project": project, "resolve_uri": "false", "page_size": 500}
        (data,) = (
            t["data"] for t in self.desk.studio.ask("GET", "/api/tasks", params=query)["tasks"] if t["id"] == task["id"]
        )
        self.desk.studio.ask("POST", f"/api/projects/{project}/import", json=[{"data": data}])

    def delete_predictions(self, task: dict[str, Any], project: int) -> None:
        """Delete the pre-labels of a task."""
        body = {"selectedItems": {"all": False, "included": [task["id"]]}, "project": str(project), "ordering": []}
        self.desk.studio.ask("POST", f"/api/dm/actions?id=delete_tasks_predictions&project={project}", json=body)


def live_through(desk: Desk, rng: random.Random, rounds: int) -> None:
    """Let everything happen at random. What a fault ends is told in one line, and nothing else goes wrong."""
    people = People(desk, rng)
    runs = 0
    told: list[str] = []
    for turn in range(rounds):
        people.work()
        act = rng.choice(["push", "push", "pull", "pull", "pull", "prelabel", "start", "forget", "more", "more"])
        try:
            if act == "push":
                name = rng.choice(["", "", EXPERTS])
                which = rng.choice([Which.ALL, Which.SKIPPED]) if name else Which.WAITING
                desk.labelling.push(rng.choice([1, 5, None]), name, which)
            elif act == "pull":
                desk.labelling.pull(full=rng.random() < 0.1, accept_deletions=rng.random() < 0.1)
            elif act == "prelabel" and runs:
                desk.labelling.push_prelabels(f"run-{runs}")
            elif act == "prelabel" or (act == "more" and rng.random() < 0.3):
                runs += 1
                desk.predict(f"run-{runs}", *[(image, rng.choice(CLASSES), rng.random()) for image in desk.images()])
            elif act == "start":
                desk.labelling.start(name=EXPERTS)
            elif act == "forget" and rng.random() < 0.3:
                forget(desk.project, str(rng.choice(desk.images())), desk.labelling)
            elif act == "more":
                folder = desk.root.parent / f"more-{turn}"
                folder.mkdir()
                (folder / "x.jpg").write_bytes(jpeg(1000 + turn, (120, 90)))
                import_folder(desk.project, folder, labels=False)
        except LabelStudioError as error:
            told.append(str(error))
    assert not [line for line in told if "\n" in line or desk.studio.token in line]


def settle(desk: Desk) -> None:
    """What a person does in the end, with all working: push, pull, and once more for what that brought."""
    desk.labelling.pull(accept_deletions=True)
    desk.labelling.start(name=EXPERTS)
    for _ in range(2):
        desk.labelling.pull(accept_deletions=True)
        desk.labelling.push()
        desk.labelling.push(name=EXPERTS, which=Which.ALL)


def assert_agreement(desk: Desk) -> None:
    """Database and server say the same of every task, every answer and every prediction."""
    with desk.project.database.read() as session:
        projects = list(session.scalars(select(LabellingProject)))
        assert len(projects) == 2
        forgotten = set(session.scalars(select(Image.id).where(Image.state == ImageState.FORGOTTEN)))
        names = {number: name for name, number in desk.project.classes(session).items()}
        for project in projects:
            remote = {task["id"]: task for task in desk.studio.tasks(project.number)}
            there = (LabellingTask.project_id == project.id) & (LabellingTask.state == TaskState.THERE)
            ours = {task.number: task for task in session.scalars(select(LabellingTask).where(there))}
            images = [task["data"]["image_id"] for task in remote.values()]
            assert len(images) == len(set(images)), "a picture stands twice"
            assert not forgotten.intersection(images)
            assert {n: t["data"]["image_id"] for n, t in remote.items()} == {n: t.image_id for n, t in ours.items()}
            newest = session.scalar(select(func.max(Run.id)))
            counted = desk.studio.ask("GET", f"/api/projects/{project.number}/model-versions/").get(f"run-{newest}", 0)
            assert counted == sum(task.prelabelled_by_id == newest for task in ours.values() if newest)
            for number, task in ours.items():
                assert number is not None
                known = {a.key: a for a in session.scalars(select(Annotation).where(Annotation.task_id == task.id))}
                answered = {f"label_studio:{project.id}:{a['id']}": a for a in remote[number]["annotations"]}
                standing = {key for key, a in known.items() if a.state is not AnnotationState.DELETED}
                assert standing == set(answered)
                for key, answer in answered.items():
                    assert_same(known[key], answer, names)
                counts = [p["model_version"] for p in remote[number]["predictions"]]
                assert len(counts) == len(set(counts)), "a prediction stands twice"
                assert (f"run-{newest}" in counts) is (newest is not None and task.prelabelled_by_id == newest)
        for annotation in session.scalars(select(Annotation)):
            revisions = annotation.revisions
            assert [revision.number for revision in revisions] == list(range(1, len(revisions) + 1))
            last = revisions[-1]
            assert (last.state, last.class_id) == (annotation.state, annotation.class_id)
            said = [(r.state, r.class_id, r.answered_at) for r in revisions]
            assert all(one != other for one, other in pairwise(said)), "a change is on record twice"


def assert_same(annotation: Annotation, remote: dict[str, Any], names: dict[int, str]) -> None:
    """An answer and its newest revision are what the server has."""
    last = annotation.revisions[-1]
    assert last.answer["result"] == remote["result"]
    assert last.answer["updated_at"] == remote["updated_at"]
    chosen = [part["value"]["choices"] for part in remote["result"]]
    if remote["was_cancelled"]:
        assert annotation.state is AnnotationState.SKIPPED
    elif len(chosen) == 1 and len(chosen[0]) == 1 and chosen[0][0] in CLASSES:
        assert annotation.state is AnnotationState.ACTIVE
        assert annotation.class_id is not None
        assert names[annotation.class_id] == chosen[0][0]
    else:
        assert annotation.state is AnnotationState.UNUSABLE


def converge(make_desk: MakeDesk, seed: int, rounds: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - what happens, no secrets
    made = make_desk(12, start=False)
    with mischief(made.studio.url, seed) as between:
        desk = at(made, between.url)
        desk.labelling.start(name=EXPERTS)
        desk.labelling.push(6)
        between.share = 0.12
        live_through(desk, rng, rounds)
        assert between.done, "nothing went wrong"
        between.make_peace()
        settle(desk)
        assert_agreement(desk)
        before = desk.counts()
        assert (desk.labelling.push().created, desk.labelling.pull().annotations, desk.counts()) == (0, 0, before)
        desk.project.database.close()


def test_both_sides_agree_after_a_few_bad_rounds(make_desk: MakeDesk) -> None:
    """No task doubled, no answer lost, no prediction doubled, whatever was lost on the way."""
    converge(make_desk, 1, rounds=8)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 6))
def test_both_sides_agree_after_many_bad_rounds(make_desk: MakeDesk, seed: int) -> None:
    """The same over 200 rounds."""
    converge(make_desk, seed, rounds=200)
