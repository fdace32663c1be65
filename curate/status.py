"""`curate status`: where everything stands."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from curate import runs
from curate.project import Project
from curate.select import unlabelled_ids
from db.batches import chunks
from db.labels import accepted_keepers, keeper_labels
from db.models import Candidate, CandidateState, Image, ImageState, Run, Snapshot


@dataclass(frozen=True, slots=True)
class ClassStatus:
    """One class: keepers collected for it or labelled so, keepers labelled so, and how many are wanted."""

    images: int
    labelled: int
    target: int


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One run."""

    name: str
    state: str
    snapshot: int
    validation_accuracy: float | None
    best: bool


@dataclass(frozen=True, slots=True)
class Status:
    """The whole project."""

    classes: dict[str, ClassStatus]
    others: dict[str, int]
    """Keepers of which people said something else than a class, by what they said."""
    accepted: int
    """Keepers that a run was taken at its word for."""
    images: int
    keepers: int
    duplicates: int
    set_aside: int
    unlabelled: int
    conflicts: int
    candidates: dict[str, int]
    """Addresses by state, `failed` by reason."""
    snapshots: int
    runs: list[RunStatus]


def status(project: Project) -> Status:
    """Count everything."""
    with project.database.read() as session:
        labels = keeper_labels(session)
        counts = _image_counts(session)
        usable = counts["keepers"]
        return Status(
            classes=_classes(project, session, {label.keeper_id: label.class_id for label in labels}),
            others=dict(Counter(label.other.value for label in labels if label.other is not None)),
            accepted=len(accepted_keepers(session)),
            images=counts["images"],
            keepers=usable,
            duplicates=counts["duplicates"],
            set_aside=counts["set_aside"],
            unlabelled=len(unlabelled_ids(session)),
            conflicts=sum(label.conflict for label in labels),
            candidates=_candidates(session),
            snapshots=session.scalar(select(func.count()).select_from(Snapshot)) or 0,
            runs=_runs(project, session),
        )


def _image_counts(session: Session) -> dict[str, int]:
    rows = session.execute(
        select(Image.state, Image.is_keeper, func.count()).group_by(Image.state, Image.is_keeper)
    ).all()

    def total(states: Iterable[ImageState], keeper: Iterable[bool] = (True, False)) -> int:
        return sum(n for state, is_keeper, n in rows if state in states and is_keeper in keeper)

    present = (ImageState.STORED, ImageState.SET_ASIDE)
    return {
        "images": total(present),
        "keepers": total([ImageState.STORED], [True]),
        "duplicates": total(present, [False]),
        "set_aside": total([ImageState.SET_ASIDE], [True]),
    }


def _classes(project: Project, session: Session, labels: dict[int, int | None]) -> dict[str, ClassStatus]:
    query = select(Image.collected_for_id, func.count()).where(
        Image.collected_for_id.is_not(None), Image.is_keeper, Image.state == ImageState.STORED
    )
    images: dict[int | None, int] = {row[0]: row[1] for row in session.execute(query.group_by(Image.collected_for_id))}
    collected = _collected_for(session, labels)
    labelled: dict[int, int] = {}
    for keeper_id, class_id in labels.items():
        # A label says what an image is; the query that found it only guessed.
        guess = collected.get(keeper_id)
        if guess is not None:
            images[guess] -= 1
        if class_id is not None:
            labelled[class_id] = labelled.get(class_id, 0) + 1
            images[class_id] = images.get(class_id, 0) + 1
    target = project.settings.dataset.target
    return {
        name: ClassStatus(images.get(class_id, 0), labelled.get(class_id, 0), target)
        for name, class_id in project.classes(session).items()
    }


def _collected_for(session: Session, keepers: Iterable[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for ids in chunks(keepers):
        query = select(Image.id, Image.collected_for_id).where(Image.id.in_(ids), Image.collected_for_id.is_not(None))
        found.update({row[0]: row[1] for row in session.execute(query) if row[1] is not None})
    return found


def _candidates(session: Session) -> dict[str, int]:
    query = select(Candidate.state, Candidate.reason, func.count()).group_by(Candidate.state, Candidate.reason)
    found: dict[str, int] = {}
    for state, reason, count in session.execute(query):
        key = reason.value if state is CandidateState.FAILED and reason is not None else state.value
        found[key] = found.get(key, 0) + count
    return found


def _runs(project: Project, session: Session) -> list[RunStatus]:
    chosen = runs.best(session, [c.name for c in project.settings.classes])
    return [
        RunStatus(
            run.name,
            run.state.value,
            run.snapshot_id,
            run.validation_accuracy,
            chosen is not None and run.id == chosen.id,
        )
        for run in session.scalars(select(Run).order_by(Run.id))
    ]
