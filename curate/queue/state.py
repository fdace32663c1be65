"""All that the order of the queue rests on, as the database has it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate import runs
from curate.people.sample import falls_within
from curate.project import Project
from db.batches import chunks
from db.labels import KeeperLabel, keeper_labels
from db.models import Image, LabellingTask, Prediction, Run, TaskState
from db.store import relative_path

_ENOUGH = 0.5
"""Share of what waits that a run must have answered for, to be asked rather than an earlier one."""

_BEFORE = 3
"""Earlier runs that are looked at."""

_Said = tuple[tuple[float, ...], bool]
"""Probabilities, and whether the image seems to be of no class."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An image without a label. `guess` is the class whose query found it; of what the best run says, `said`."""

    id: int
    path: str
    sha256: str
    guess: str | None
    conflict: bool
    """Its copies have labels, and they differ."""
    control: bool
    """One of the images that are drawn at random, and never chosen."""
    said: tuple[float, ...] = ()
    """Probabilities, one a class of the state; empty where nothing is predicted yet."""
    outside: bool = False
    """The best run takes it for none of the classes."""


@dataclass(frozen=True, slots=True)
class Beside:
    """An image that need not be asked for: it has a label, or is with people. `name` is the class, or the guess."""

    sha256: str
    name: str | None
    labelled: bool


@dataclass(frozen=True, slots=True)
class State:
    """What waits, what need not wait, and how many labels each class lacks.

    Images stand in the order of their hashes: it looks random, and is the same every time, and in every project that
    has these images.
    """

    run: Run | None
    """It has answered for what waits: the best one, or one before it."""
    missing: Mapping[str, int]
    """By class, in the order of the best run's, or else of `curate.toml`."""
    waiting: Sequence[Waiting]
    beside: Sequence[Beside]


def read(project: Project, session: Session, unlabelled: Collection[int], exclude: Collection[int]) -> State:
    """Read it. What is excluded, and with people, is `beside`; what is excluded otherwise is nowhere."""
    names = {class_id: name for name, class_id in project.classes(session).items()}
    labels = keeper_labels(session)
    wanted = sorted(set(unlabelled).difference(exclude))
    run, predicted = _answering(session, list(names.values()), wanted)
    classes = [name for name in runs.names_now(session, run) if name is not None] if run else list(names.values())
    awaited = _with_people(session) & set(unlabelled) & set(exclude)
    known = {label.keeper_id: names[label.class_id] for label in labels if label.class_id is not None}
    for number in wanted:  # asked for again though it has a label
        known.pop(number, None)
    return State(
        run,
        _missing(classes, labels, names, project.settings.dataset.target),
        _waiting(project, session, wanted, predicted, labels, names),
        sorted(
            [*_beside(session, known, names, labelled=True), *_beside(session, awaited, names, labelled=False)],
            key=lambda one: one.sha256,
        ),
    )


def _missing(
    classes: Sequence[str], labels: Sequence[KeeperLabel], names: Mapping[int, str], target: int
) -> dict[str, int]:
    missing = dict.fromkeys(classes, target)
    for label in labels:
        if label.class_id is not None:
            missing[names[label.class_id]] -= 1
    return {name: max(0, count) for name, count in missing.items()}


def _with_people(session: Session) -> set[int]:
    return set(session.scalars(select(LabellingTask.image_id).where(LabellingTask.state != TaskState.GONE)))


def _waiting(
    project: Project,
    session: Session,
    ids: Sequence[int],
    predicted: Mapping[int, _Said],
    labels: Sequence[KeeperLabel],
    names: Mapping[int, str],
) -> list[Waiting]:
    conflicts = {label.keeper_id for label in labels if label.conflict}
    settings = project.settings
    columns = select(Image.id, Image.sha256, Image.format, Image.collected_for_id)
    found = []
    for batch in chunks(ids):
        for number, sha256, form, class_id in session.execute(columns.where(Image.id.in_(batch))):
            said, outside = predicted.get(number, ((), False))
            guess = None if class_id is None else names.get(class_id)
            control = falls_within(number, settings.queue.control, settings, "control")
            path = f"images/{relative_path(sha256, form)}"
            found.append(Waiting(number, path, sha256, guess, number in conflicts, control, said, outside))
    return sorted(found, key=lambda image: image.sha256)


def _answering(session: Session, classes: list[str], wanted: Collection[int]) -> tuple[Run | None, Mapping[int, _Said]]:
    """Give the best run and what it says; or, while it has hardly answered yet, an earlier one that has."""
    best = runs.best(session, classes)
    if best is None:
        return None, {}
    found = _predicted(session, best)
    enough = _ENOUGH * len(wanted)
    if len(found.keys() & set(wanted)) < enough:
        for run in runs.earlier(session, best, classes)[:_BEFORE]:
            said = _predicted(session, run)
            if len(said.keys() & set(wanted)) >= enough:
                return run, said
    return best, found


def _predicted(session: Session, run: Run) -> dict[int, _Said]:
    query = select(Prediction.image_id, Prediction.probabilities, Prediction.outside)
    rows = session.execute(query.where(Prediction.run_id == run.id))
    return {number: (tuple(said), outside) for number, said, outside in rows}


def _beside(
    session: Session, known: Mapping[int, str] | set[int], names: Mapping[int, str], *, labelled: bool
) -> list[Beside]:
    found = []
    for batch in chunks(known):
        rows = session.execute(select(Image.id, Image.sha256, Image.collected_for_id).where(Image.id.in_(batch)))
        for number, sha256, class_id in rows:
            guess = None if class_id is None else names.get(class_id)
            found.append(Beside(sha256, known[number] if isinstance(known, Mapping) else guess, labelled))
    return found
