"""What a dataset must know once its Label Studio was put back from a backup: what was made since is not there."""

import sqlite3
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.batches import chunks
from db.engine import Database
from db.models import Annotation, AnnotationState, Label, LabellingProject, LabellingTask, TaskState
from db.reviews import waiting
from labeler.backup import DATABASE
from labeler.restore import RESTORED
from labeler.server import LocalServer


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What is here and not on the server.

    `tasks` are made again by the next push, but for those that have a label. `answers` count as they did, though no
    task there shows them.
    """

    tasks: int = 0
    answers: int = 0


def known_numbers(database: Database, local: LocalServer) -> list[tuple[str, int]]:
    """Numbers that this project's server has given out as far as the dataset knows, by the server's own tables."""
    if not local.exists:
        return []
    with database.read() as session:
        projects = _projects(session, local)
        found = [("project", project.number) for project in projects]
        for project in projects:
            tasks = select(LabellingTask.number).where(LabellingTask.project_id == project.id)
            found += [("task", number) for number in session.scalars(tasks) if number is not None]
            found += [("task_completion", _number(a)) for a in _answers(session, project)]
    return [(table, max(n for name, n in found if name == table)) for table in {name for name, _ in found}]


def reconcile(database: Database, local: LocalServer) -> Reconciled:
    """Let the dataset follow a restored server, unless it has already. A second time changes nothing."""
    marker = local.folder / RESTORED
    if not marker.exists():
        return Reconciled()
    tasks, answers = (_ids(local.folder / DATABASE, table) for table in ("task", "task_completion"))
    done = Reconciled()
    with database.write() as session:
        for project in _projects(session, local):
            gone = _follow_tasks(session, project, tasks)
            lost = [a for a in _answers(session, project) if _number(a) not in answers and a.task_id is not None]
            for annotation in lost:
                annotation.task_id = None  # or the next pull would take it for one that was deleted there
            done = Reconciled(done.tasks + gone, done.answers + len(lost))
    marker.unlink()
    return done


def _projects(session: Session, local: LocalServer) -> list[LabellingProject]:
    query = select(LabellingProject).where(LabellingProject.server == local.credentials().identity)
    return list(session.scalars(query.where(LabellingProject.gone_at.is_(None))))


def _answers(session: Session, project: LabellingProject) -> list[Annotation]:
    """Answers that are still on the server as far as is known here."""
    there = Annotation.state != AnnotationState.DELETED
    return list(
        session.scalars(select(Annotation).where(Annotation.key.startswith(f"label_studio:{project.id}:"), there))
    )


def _number(annotation: Annotation) -> int:
    return int(annotation.key.rpartition(":")[2])


def _follow_tasks(session: Session, project: LabellingProject, there: Collection[int]) -> int:
    """Let tasks that came back be there, and those that did not be made again; give the number of the latter."""
    tasks = list(session.scalars(select(LabellingTask).where(LabellingTask.project_id == project.id)))
    labelled: set[int] = set()
    for ids in chunks([task.image_id for task in tasks]):
        labelled |= set(session.scalars(select(Label.image_id).where(Label.image_id.in_(ids))))
    labelled -= waiting(session).keys()
    gone = 0
    for task in tasks:
        if task.number in there:
            task.state = TaskState.THERE  # also one that was deleted there since
        elif task.state is TaskState.THERE:
            # As after a lost reply: the next push asks for it, and sends it. What has a label needs nobody's answer,
            # unless somebody was asked about it: it was sent for that, and no push would send it again.
            task.state = TaskState.GONE if task.image_id in labelled else TaskState.SENT
            task.number = task.prelabelled_by_id = None
            gone += 1
    return gone


def _ids(database: Path, table: str) -> set[int]:
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=rw", uri=True, timeout=60)) as connection:
        return {row[0] for row in connection.execute(f"SELECT id FROM {table}")}  # noqa: S608 - our own names
