"""A round put on record as its run ends, from what is on record anyway: its split, answers, tasks, and runs before it.

It is written in the transaction that finishes the run, whoever trained: `curate loop`, `curate label watch`, or a
person. So no round is lost to a kill between training and the rest; of runs from before rounds were kept the same can
be said later.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from curate.project import Project
from db.labels import keeper_labels
from db.models import (
    Annotation,
    AnnotationOrigin,
    AnnotationRevision,
    Image,
    LabellingTask,
    Prelabel,
    Round,
    Run,
    RunState,
    Side,
    Snapshot,
    SnapshotItem,
)
from trainer.errors import WeightsError


def record(session: Session, run: Run, trust: Mapping[str, Any], strategy: str = "") -> Round | None:
    """Write down the round that `run`, which has just finished, was the end of. What another run taught is no round.

    `trust` is what the run knows of itself: `trainer.trust.Trust`, as plain values, or nothing; `strategy`
    chose the images that were handed out, if that is known.
    """
    if run.options.get("teacher"):
        return None
    snapshot = session.get_one(Snapshot, run.snapshot_id)
    before = _before(session, run)
    until = _labels_until(session, snapshot, run)
    since = None if before is None else before.labels_until
    answers = _answers(session, since, until)
    learned, complete = _split(session, snapshot)
    found = Round(
        run_id=run.id,
        labels_until=until,
        labelled=_labelled(session, until),
        complete=complete,
        learned=learned,
        recall=_recall(trust),
        accepted=answers[Prelabel.ACCEPTED],
        shown=answers[Prelabel.ACCEPTED] + answers[Prelabel.CHANGED],
        labelling_seconds=_seconds(session, since, until),
        waited_seconds=_waited(session, before, until),
        strategy=strategy,
    )
    session.add(found)
    session.flush()
    return found


def catch_up(project: Project) -> None:
    """Put on record the rounds of runs that finished before rounds were kept."""
    missing = (
        select(Run)
        .outerjoin(Round, Round.run_id == Run.id)
        .where(Run.state == RunState.FINISHED, Round.run_id.is_(None))
        .order_by(Run.id)
    )
    with project.database.read() as session:
        runs = [run for run in session.scalars(missing) if not run.options.get("teacher")]
    if not runs:
        return
    known = {run.id: _trust(project, run) for run in runs}
    with project.database.write() as session:
        for run in session.scalars(missing).all():
            record(session, run, known.get(run.id, {}))


def _trust(project: Project, run: Run) -> Mapping[str, Any]:
    from trainer.predict import read_run  # noqa: PLC0415 - torch, only where an old run has to be read

    try:
        found: dict[str, Any] = read_run(project.runs / run.name).get("trust", {})
    except WeightsError:  # its files are gone, or damaged: the rest can be told
        return {}
    return found


def _before(session: Session, run: Run) -> Round | None:
    query = select(Round).where(Round.run_id < run.id).order_by(Round.run_id.desc()).limit(1)
    return session.scalars(query).first()


def _labels_until(session: Session, snapshot: Snapshot, run: Run) -> datetime:
    earlier = select(Run.id).where(Run.snapshot_id == snapshot.id, Run.id < run.id, Run.state == RunState.FINISHED)
    return snapshot.created_at if session.scalar(earlier.limit(1)) is None else run.started_at


def _split(session: Session, snapshot: Snapshot) -> tuple[int, int]:
    """Images that are learned from, and classes that have their target."""
    columns = (SnapshotItem.class_index, SnapshotItem.side, func.count())
    query = select(*columns).where(SnapshotItem.snapshot_id == snapshot.id).group_by(*columns[:2])
    images: Counter[int] = Counter()
    learned = 0
    for index, side, count in session.execute(query):
        images[index] += count
        learned += count if side is Side.TRAIN else 0
    return learned, sum(count >= snapshot.target for count in images.values())


def _labelled(session: Session, until: datetime) -> int:
    """Keepers that have a class, and for which one was named by then."""
    query = (
        select(Image.id, Image.is_keeper, Image.group_id)
        .join(Annotation, Annotation.image_id == Image.id)
        .join(AnnotationRevision, AnnotationRevision.annotation_id == Annotation.id)
        .where(AnnotationRevision.class_id.is_not(None), AnnotationRevision.recorded_at <= until)
    )
    rows = session.execute(query).all()
    keepers, groups = {row[0] for row in rows if row[1]}, {row[2] for row in rows if not row[1]}
    labelled = {label.keeper_id for label in keeper_labels(session) if label.class_id is not None}
    return len((keepers | _keepers_of(session, groups)) & labelled)


def _keepers_of(session: Session, groups: Iterable[int | None]) -> set[int]:
    wanted = set(groups)
    query = select(Image.id, Image.group_id).where(Image.is_keeper, Image.group_id.is_not(None))
    return {number for number, group in session.execute(query) if group in wanted}


def _recall(trust: Mapping[str, Any]) -> dict[str, Any]:
    counts = trust.get("confusion")
    if not counts:
        return {}
    return {"right": [row[place] for place, row in enumerate(counts)], "images": [sum(row) for row in counts]}


def _answers(session: Session, since: datetime | None, until: datetime) -> Counter[Prelabel]:
    """What people did with pre-labels when they first answered, between two moments."""
    query = select(AnnotationRevision.prelabel, func.count()).join(AnnotationRevision.annotation)
    rows = session.execute(query.where(*_first(since, until)).group_by(AnnotationRevision.prelabel))
    return Counter({row[0]: row[1] for row in rows})


def _seconds(session: Session, since: datetime | None, until: datetime) -> float:
    query = select(func.sum(AnnotationRevision.lead_time)).join(AnnotationRevision.annotation)
    return session.scalar(query.where(*_first(since, until))) or 0.0


def _first(since: datetime | None, until: datetime) -> list[Any]:
    """People's first answers, by when we took them in: the server's clock may not be ours."""
    asked = [Annotation.origin == AnnotationOrigin.LABEL_STUDIO, AnnotationRevision.number == 1]
    asked.append(AnnotationRevision.recorded_at <= until)
    return asked if since is None else [*asked, AnnotationRevision.recorded_at > since]


def _waited(session: Session, before: Round | None, until: datetime) -> float | None:
    begun = session.scalar(select(func.min(LabellingTask.sent_at)))
    if before is not None:
        begun = session.get_one(Run, before.run_id).finished_at
    return None if begun is None else max(0.0, (until - begun).total_seconds())
