"""Taking stock: which of our tasks the server still has, and which it has that we do not know of.

Deletion leaves no trace there but a smaller count; a lost reply, a request that was served too late, or somebody who
imports what he had exported, a larger one. Two counts tell that nothing of the kind happened; only else is it listed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from db.batches import chunks
from db.errors import LabelStudioError
from db.models import Image, LabellingProject, LabellingTask, TaskState
from labeler.client import Server
from labeler.config import REVIEW
from labeler.dataset import Dataset

_HASH = 16
"""Digits of a picture's SHA-256 that tell it from all others."""
_NAMED = re.compile(r"([0-9a-f]{16})(?:[0-9a-f]{48})?\.\w+$")
"""Names of pictures, in the project's folder and as they are uploaded."""
_FEW = 20
"""Tasks, or answers, that may vanish at once without a question."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """A task on the server whose number we do not know, though it says which image it shows.

    `image_id` is our number of that image. `data` may say another: images that are taken in anew, after the database
    was put back to an earlier state, get new ones.
    """

    number: int
    image_id: int
    data: Mapping[str, Any]
    answers: int

    @property
    def url(self) -> str:
        """Where the page finds the picture."""
        return str(self.data["image"])

    @property
    def renumbered(self) -> bool:
        """Whether it was made for an image that has another number by now."""
        return bool(self.data["image_id"] != self.image_id)

    @property
    def plain(self) -> bool:
        """Whether it says nothing else, as ours when it is sent: one that people have added to is theirs."""
        return self.data.keys() - {REVIEW} == {"image", "image_id"}


@dataclass(frozen=True, slots=True)
class Stock:
    """How the server's tasks differ from ours. `known` counts ours, `gone` gives our ids of those it lacks.

    `replaced` says of how many of these a stranger shows the image: they were exported and imported again. `answers` is
    the server's own count of answers to ours, skips left out; `moment` its clock, where it tells.
    """

    known: int
    gone: list[int]
    strangers: list[Stranger]
    replaced: int
    answers: int
    moment: datetime | None

    @property
    def foreign(self) -> bool:
        """Whether nothing that was sent there is there: emptied, or another project that got the number."""
        return 0 < self.known == len(self.gone) - self.replaced

    @property
    def suspicious(self) -> bool:
        """Whether so many are gone that a person has to say that it was meant."""
        return self.foreign or too_many(len(self.gone) - self.replaced, self.known)


@dataclass(frozen=True, slots=True)
class _Ours:
    id: int
    number: int
    image_id: int
    url: str

    def is_it(self, remote: Mapping[str, Any] | None) -> bool:
        """Whether a task on the server is the one we sent: numbers are given anew after a server was reset."""
        if remote is None or remote["id"] != self.number:
            return False
        return (remote["data"].get("image_id"), remote["data"].get("image")) == (self.image_id, self.url)


def take_stock(dataset: Dataset, server: Server, project: LabellingProject) -> Stock:
    """Compare. Changes nothing."""
    ours = _ours(dataset, project)
    if not ours:
        whole = server.census(project.number)
        there = [t for page in server.task_data(project.number) for t in page.tasks] if whole.tasks else []
        return Stock(0, [], _strangers(dataset, project, there), 0, 0, whole.moment)
    low, high = ours[0].number, ours[-1].number
    inside, whole = server.census(project.number, low, high), server.census(project.number)
    gone: list[int] = []
    strange: list[dict[str, Any]] = []
    if inside.tasks != len(ours) or not ours[-1].is_it(inside.newest):
        gone, strange = _compare(server, project, ours)
    if whole.tasks > inside.tasks:
        below, above = server.task_data(project.number, None, low - 1), server.task_data(project.number, high + 1)
        strange += [task for page in chain(below, above) for task in page.tasks]
    strangers = _strangers(dataset, project, strange)
    shown = {(stranger.image_id, stranger.url) for stranger in strangers}
    lost = set(gone) if shown else set()
    replaced = sum(task.id in lost and (task.image_id, task.url) in shown for task in ours)
    return Stock(len(ours), gone, strangers, replaced, inside.answers, whole.moment)


def _ours(dataset: Dataset, project: LabellingProject) -> list[_Ours]:
    columns = select(LabellingTask.id, LabellingTask.number, LabellingTask.image_id, LabellingTask.data_url)
    there = (LabellingTask.project_id == project.id) & (LabellingTask.state == TaskState.THERE)
    with dataset.database.read() as session:
        rows = session.execute(columns.where(there).order_by(LabellingTask.number))
        return [_Ours(row[0], row[1], row[2], row[3]) for row in rows if row[1] is not None]


def _compare(server: Server, project: LabellingProject, ours: list[_Ours]) -> tuple[list[int], list[dict[str, Any]]]:
    missing = {task.number: task for task in ours}
    strange = []
    for page in server.task_data(project.number, ours[0].number, ours[-1].number):
        for remote in page.tasks:
            mine = missing.get(remote["id"])
            if mine is not None and mine.is_it(remote):
                del missing[remote["id"]]
            else:
                strange.append(remote)
    return [task.id for task in missing.values()], strange


def _strangers(dataset: Dataset, project: LabellingProject, remote: Iterable[dict[str, Any]]) -> list[Stranger]:
    found = []
    for task in remote:
        data = task["data"]
        if isinstance(data.get("image_id"), int) and isinstance(data.get("image"), str):
            answers = task["total_annotations"] + task["cancelled_annotations"]
            found.append(Stranger(task["id"], data["image_id"], data, answers))
    with dataset.database.read() as session:
        return [one for some in chunks(found) for one in _numbered(session, project, some)]


def _numbered(session: Session, project: LabellingProject, strangers: list[Stranger]) -> Iterator[Stranger]:
    """Yield them with our numbers of their images, known by content, as far as these have no task yet."""
    ids = [stranger.image_id for stranger in strangers]
    hashes = dict(session.execute(select(Image.id, Image.sha256).where(Image.id.in_(ids))).all())
    others = {s.number: content(s) for s in strangers if hashes.get(s.image_id, "")[:_HASH] != content(s)}
    numbers: dict[str, int] = {}
    if any(others.values()):
        there = (LabellingTask.project_id == project.id) & (LabellingTask.state == TaskState.THERE)
        known = func.substr(Image.sha256, 1, _HASH).in_(set(others.values()))
        free = Image.id.not_in(select(LabellingTask.image_id).where(there))
        numbers = {
            sha256[:_HASH]: number
            for number, sha256 in session.execute(select(Image.id, Image.sha256).where(known, free))
        }
    for stranger in strangers:
        ours = numbers.get(others.get(stranger.number, ""))
        yield stranger if ours is None else replace(stranger, image_id=ours)


def content(stranger: Stranger) -> str:
    """Beginning of its picture's SHA-256, by which the picture is named; empty for what has no name of ours."""
    named = _NAMED.search(stranger.url)
    return named[1] if named else ""


def note_gone(dataset: Dataset, project: LabellingProject, stock: Stock, *, accept_deletions: bool) -> int:
    """Note tasks that were deleted on the server, and give their number; their labels stay.

    Raises LabelStudioError where they are all, or suspiciously many, and `accept_deletions` does not say it was meant.
    """
    if stock.suspicious and not accept_deletions:
        reset = "; if the server was reset, `curate label start` asks about a new project" if stock.foreign else ""
        raise LabelStudioError(
            f"{len(stock.gone)} of {stock.known} tasks are no longer in project {project.number} of Label Studio;"
            " nothing was changed here. If that was meant, say so: `curate label pull --accept-deletions` (labels that"
            f" were pulled stay){reset}"
        )
    with dataset.database.write() as session:
        for ids in chunks(stock.gone):
            session.execute(update(LabellingTask).where(LabellingTask.id.in_(ids)).values(state=TaskState.GONE))
    return len(stock.gone)


def too_many(gone: int, known: int) -> bool:
    """Whether so many do not vanish by chance."""
    return gone > _FEW and gone > known // 10


@dataclass(slots=True)
class Adopted:
    """Tasks found again, or with answers that were another's; and pictures that stay on the server twice, answered."""

    found: int = 0
    doubled: int = 0


def adopt(dataset: Dataset, server: Server, project: LabellingProject, stock: Stock) -> Adopted:
    """Take tasks for ours that show our images and whose numbers never reached us; let unanswered doubles go there.

    A request that we gave up may be served later, after it was sent again: then a picture stands twice.
    """
    adopted = Adopted()
    for stranger in stock.strangers:
        if stranger.renumbered:  # there first: what is on record here is compared with what stands there
            server.update_task(stranger.number, {**stranger.data, "image_id": stranger.image_id})
    doubles: list[tuple[LabellingTask, Stranger]] = []
    for strangers in chunks(stock.strangers):
        with dataset.database.write() as session:
            doubles += _adopt(session, project, strangers, adopted)
    for task, stranger in doubles:
        _merge(dataset, server, project, task, stranger, adopted)
    return adopted


def _adopt(
    session: Session, project: LabellingProject, strangers: list[Stranger], adopted: Adopted
) -> list[tuple[LabellingTask, Stranger]]:
    ids = {stranger.image_id for stranger in strangers}
    images = {image.id: image for image in session.scalars(select(Image).where(Image.id.in_(ids)))}
    query = select(LabellingTask).where(LabellingTask.project_id == project.id, LabellingTask.image_id.in_(ids))
    rows = {task.image_id: task for task in session.scalars(query)}
    doubles = []
    for stranger in strangers:
        image, task = images.get(stranger.image_id), rows.get(stranger.image_id)
        if image is None or image.sha256[:_HASH] != content(stranger):  # another dataset counts its images, too
            continue
        if task is not None and task.state is TaskState.THERE:
            doubles.append((task, stranger))
            continue
        release_numbers(session, project, [stranger.number])
        if task is None:
            task = rows[image.id] = LabellingTask(project_id=project.id, image_id=image.id)
            session.add(task)
        task.data_url, task.number, task.state = stranger.url, stranger.number, TaskState.THERE
        task.prelabelled_by_id = None
        session.flush()
        adopted.found += 1
    return doubles


def release_numbers(session: Session, project: LabellingProject, numbers: Iterable[int]) -> None:
    """Take numbers from tasks that had them before: a server that was put back to an earlier state gives them anew."""
    mine = (LabellingTask.project_id == project.id) & LabellingTask.number.is_not(None)
    for batch in chunks(numbers):
        had = mine & LabellingTask.number.in_(batch)
        session.execute(update(LabellingTask).where(had).values(number=None, state=TaskState.GONE))


def _merge(
    dataset: Dataset, server: Server, project: LabellingProject, task: LabellingTask, stranger: Stranger, done: Adopted
) -> None:
    """Leave one of two tasks for one picture, with the answers of both."""
    if task.number is None:
        return
    if not stranger.plain:
        done.doubled += stranger.answers > 0
        return
    if not server.answer_count(stranger.number):
        server.delete_task(stranger.number)
        return
    if server.answer_count(task.number):
        server.merge_tasks(project.number, [task.number, stranger.number])
        if server.shows(stranger.number, project.number, task.image_id):
            if server.shows(task.number, project.number, task.image_id):
                done.doubled += 1  # it could not: for people to decide
                return
        else:
            done.found += 1
            return
    else:
        server.delete_task(task.number)
    with dataset.database.write() as session:
        values = {"number": stranger.number, "prelabelled_by_id": None, "data_url": stranger.url}
        session.execute(update(LabellingTask).where(LabellingTask.id == task.id).values(values))
    done.found += 1
