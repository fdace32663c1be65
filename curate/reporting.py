"""`curate report`: what the dataset has, where it is from, and how well networks learn it, in numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from curate import runs
from curate.config import class_key
from curate.crawl.account import counted
from curate.evaluating import Evaluation, evaluation
from curate.project import Project
from curate.rights import label
from curate.rounds.account import LoopAccount
from curate.rounds.account import account as loop_account
from curate.share import Share
from curate.split import latest_snapshot
from curate.status import ClassStatus, Status, status
from db.answers import Other
from db.batches import chunks
from db.classes import ids_now
from db.errors import DatasetError
from db.labels import keeper_labels
from db.models import Image, ImageState, Run, RunState, Side, Sighting, Snapshot
from trainer.errors import WeightsError

SHOWN = 12
"""Pictures of a class."""


@dataclass(frozen=True, slots=True)
class ClassReport:
    """One class."""

    name: str
    stands: ClassStatus
    learned: int
    """Images of the present split that a run learns from."""
    held_out: int
    recall: Share
    """Of the best run; of nothing where it does not know the class."""

    @property
    def done(self) -> float:
        """Share of the labels wanted that are there, 0 to 1."""
        return min(1.0, self.stands.labelled / self.stands.target)


@dataclass(frozen=True, slots=True)
class Samples:
    """Some pictures of a class: of those labelled, else of those collected for it."""

    name: str
    labelled: bool
    of: int
    ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class SourceReport:
    """One source, and what became of the addresses that it showed first."""

    name: str
    found: int
    stored: int
    duplicate: int
    refused: int
    failed: int
    open: int


@dataclass(frozen=True, slots=True)
class Licence:
    """One licence, and how many images in use are under it; the unknown one has no name."""

    name: str
    url: str
    images: int


@dataclass(frozen=True, slots=True)
class RunReport:
    """One finished run."""

    name: str
    arch: str
    snapshot: int
    right: Share
    """Of the images held out."""
    finished_at: datetime | None
    best: bool


@dataclass(frozen=True)
class Report:
    """All of it."""

    name: str
    status: Status
    classes: Sequence[ClassReport]
    samples: Sequence[Samples]
    sources: Sequence[SourceReport]
    licences: Sequence[Licence]
    runs: Sequence[RunReport]
    rounds: LoopAccount
    best: Evaluation | None
    """What the best run answers; None where there is none, or its files are gone."""


def report(project: Project) -> Report:
    """Gather everything; nothing is computed that is not on record."""
    stands, rounds, best = status(project), loop_account(project), _best(project)
    with project.database.read() as session:
        return Report(
            name=project.settings.dataset.name,
            status=stands,
            classes=_classes(project, session, stands, best),
            samples=_samples(project, session),
            sources=_sources(session),
            licences=_licences(session),
            runs=_runs(project, session),
            rounds=rounds,
            best=best,
        )


def _best(project: Project) -> Evaluation | None:
    """Evaluate the best run, its classes called as they are now."""
    try:
        found = evaluation(project)
    except (DatasetError, WeightsError):
        return None
    with project.database.read() as session:
        now = runs.names_now(session, runs.choose(session, found.run, []))
    return replace(found, classes=tuple(name or old for name, old in zip(now, found.classes, strict=True)))


def _classes(project: Project, session: Session, stands: Status, best: Evaluation | None) -> list[ClassReport]:
    sides, recalls = _sides(session), _recalls(session, best)
    ids = project.classes(session)
    return [
        ClassReport(
            name,
            one,
            sides[ids[name], Side.TRAIN],
            sides[ids[name], Side.VALIDATION],
            recalls.get(ids[name], Share(0, 0)),
        )
        for name, one in stands.classes.items()
    ]


def _sides(session: Session) -> Counter[tuple[int | None, Side]]:
    """Images of the present split by class, as it counts now, and side."""
    snapshot: Snapshot | None = latest_snapshot(session)
    if snapshot is None:
        return Counter()
    ids = ids_now(session, map(class_key, snapshot.classes))
    return Counter((ids[item.class_index], item.side) for item in snapshot.items)


def _recalls(session: Session, best: Evaluation | None) -> dict[int, Share]:
    if best is None:
        return {}
    ids = ids_now(session, map(class_key, best.classes))
    pairs = zip(ids, best.per_class(), strict=True)
    return {number: one.recall for number, one in pairs if number is not None}


def _samples(project: Project, session: Session) -> list[Samples]:
    """The same pictures as long as the same are there: the first by their content, which is as good as drawn."""
    labelled: dict[int | Other, list[int]] = {}
    for one in keeper_labels(session):
        said = one.class_id if one.class_id is not None else one.other
        if said is not None:
            labelled.setdefault(said, []).append(one.keeper_id)
    collected = _collected(session)
    found = []
    for name, number in project.classes(session).items():
        mine = labelled.get(number, [])
        ids = mine or collected.get(number, [])
        found.append(Samples(name, bool(mine), len(ids), _first(session, ids)))
    if none := labelled.get(Other.NONE, []):
        found.append(Samples(Other.NONE.caption, True, len(none), _first(session, none)))
    return found


def _collected(session: Session) -> Mapping[int, list[int]]:
    kept = Image.is_keeper & (Image.state == ImageState.STORED) & Image.collected_for_id.is_not(None)
    found: dict[int, list[int]] = {}
    for number, class_id in session.execute(select(Image.id, Image.collected_for_id).where(kept)):
        if class_id is not None:
            found.setdefault(class_id, []).append(number)
    return found


def _first(session: Session, ids: Sequence[int]) -> list[int]:
    hashes: list[tuple[str, int]] = []
    for batch in chunks(ids):
        rows = session.execute(select(Image.sha256, Image.id).where(Image.id.in_(batch)))
        hashes = sorted([*hashes, *((sha256, number) for sha256, number in rows)])[:SHOWN]
    return [number for _, number in hashes]


def _sources(session: Session) -> list[SourceReport]:
    columns = ("found", "stored", "duplicate", "refused", "failed", "open")
    sums: dict[str, Counter[str]] = {}
    for row in counted(session)[0]:
        sums.setdefault(row.source, Counter()).update({name: getattr(row, name) for name in columns})
    return [SourceReport(name, *(sums[name][column] for column in columns)) for name in sorted(sums)]


def _licences(session: Session) -> list[Licence]:
    """Of images in use, each by its first sighting that has a licence, as `curate export` takes it."""
    telling = func.coalesce(func.min(case((Sighting.licence != "", Sighting.id))), func.min(Sighting.id))
    kept = Image.is_keeper & (Image.state == ImageState.STORED)
    first = select(telling).join(Image, Image.id == Sighting.image_id).where(kept).group_by(Sighting.image_id)
    number = func.count()
    query = select(Sighting.licence, func.max(Sighting.licence_url), number).where(Sighting.id.in_(first))
    rows = session.execute(query.group_by(Sighting.licence).order_by(number.desc(), Sighting.licence))
    return [Licence(label(name) if name else "", url or "", images) for name, url, images in rows]


def _runs(project: Project, session: Session) -> list[RunReport]:
    chosen = runs.best(session, [c.name for c in project.settings.classes])
    finished = select(Run).where(Run.state == RunState.FINISHED).order_by(Run.id.desc())
    return [
        RunReport(
            run.name,
            run.arch,
            run.snapshot_id,
            Share(round((run.validation_accuracy or 0.0) * (run.validation_images or 0)), run.validation_images or 0),
            run.finished_at,
            chosen is not None and run.id == chosen.id,
        )
        for run in session.scalars(finished)
    ]
