"""`curate status --labelling`: how people get on, what pre-labels do to them, and how long it will still take."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from curate.people.agreement import Agreement, agreement
from curate.people.arms import Arms, arms
from curate.people.disagreement import disputed
from curate.people.voices import First, first_answers, heard
from curate.project import Project
from curate.share import Difference, Share, difference
from db.batches import chunks
from db.labels import accepted_keepers, keeper_labels
from db.models import (
    Annotation,
    AnnotationOrigin,
    AnnotationState,
    Image,
    ImageState,
    Label,
    LabellingTask,
    Other,
    Prelabel,
    Review,
    ReviewReason,
    TaskState,
)

_PAUSE = timedelta(minutes=10)
"""Between two answers of one person: more, and they were not labelling meanwhile."""
_RECENT = 500
"""Answers that the present rate is taken from."""


@dataclass(frozen=True, slots=True)
class Person:
    """What one person did. `seconds` is the median that an answer took."""

    name: str
    answers: int
    skipped: int
    seconds: float | None
    per_hour: float | None


@dataclass(frozen=True, slots=True)
class Prelabels:
    """What became of pre-labels when people first answered."""

    accepted: Share
    corrected: dict[str, Share]
    """By the class that people gave: how often the pre-label had said another."""
    hidden: Share
    """Where it was kept back: how often people said the same by themselves."""

    @property
    def gap(self) -> Difference | None:
        """How much oftener people agree with what they are shown."""
        return difference(self.accepted, self.hidden)


@dataclass(frozen=True, slots=True)
class Left:
    """What is still to be labelled until every class is complete."""

    missing: dict[str, int]
    useful: float | None
    """Share of recent answers that name a class which still lacks some."""
    per_hour: float | None
    """Answers that a person gives in an hour, of late."""

    @property
    def hours(self) -> float | None:
        """A person's hours, at the present rate; None where that cannot be told."""
        missing = sum(self.missing.values())
        if not missing:
            return 0.0
        return missing / self.useful / self.per_hour if self.useful and self.per_hour else None


@dataclass(frozen=True, slots=True)
class LabellingAccount:
    """All of it."""

    tasks: int
    answered: int
    """Tasks with an answer."""
    skipped: int
    """Tasks that have nothing but a skip."""
    others: dict[str, int]
    people: list[Person]
    prelabels: Prelabels
    agreement: Agreement
    disputed: int
    """Images of which people say different things, and that nobody has decided."""
    spread: int
    """Copies that have their label from their group's keeper alone."""
    accepted: int
    """Images for which a run was taken at its word."""
    checked: Share
    """Of those that people were asked to check and have: how often they say the same."""
    arms: Arms | None
    """What was chosen beside what was drawn at random; None without a control arm."""
    left: Left


def account(project: Project) -> LabellingAccount:
    """Count everything."""
    with project.database.read() as session:
        classes = project.classes(session)
        names = {class_id: name for name, class_id in classes.items()}
        said: dict[Hashable, str] = {(class_id, None): name for name, class_id in classes.items()}
        said |= {(None, other): other.caption for other in Other}
        firsts = list(first_answers(session))
        tasks, answered, skipped = _tasks(session)
        labels = keeper_labels(session)
        return LabellingAccount(
            tasks=tasks,
            answered=answered,
            skipped=skipped,
            others=dict(Counter(label.other.value for label in labels if label.other is not None)),
            people=_people(firsts),
            prelabels=_prelabels(firsts, names),
            agreement=agreement(heard(session).values(), said),
            disputed=len(disputed(session)),
            spread=_spread(session, [label.keeper_id for label in labels if label.class_id is not None]),
            accepted=len(accepted_keepers(session)),
            checked=_checked(session),
            arms=arms(session, firsts, list(classes)),
            left=_left(project, firsts, names, Counter(label.class_id for label in labels)),
        )


def _tasks(session: Session) -> tuple[int, int, int]:
    """Tasks that are there, those with an answer, and those with nothing but a skip."""
    there = select(LabellingTask.id).where(LabellingTask.state == TaskState.THERE)
    query = select(Annotation.task_id, Annotation.state).where(Annotation.task_id.in_(there))
    states: dict[int | None, set[AnnotationState]] = defaultdict(set)
    for task_id, state in session.execute(query.where(Annotation.state != AnnotationState.DELETED)):
        states[task_id].add(state)
    skipped = sum(found == {AnnotationState.SKIPPED} for found in states.values())
    total = session.scalar(select(func.count()).select_from(there.subquery())) or 0
    return total, len(states) - skipped, skipped


def _people(firsts: Iterable[First]) -> list[Person]:
    mine: dict[str, list[First]] = defaultdict(list)
    for first in firsts:
        mine[first.person].append(first)
    found = []
    for name, given in mine.items():
        seconds = [first.seconds for first in given if first.seconds is not None]
        skipped = sum(first.state is AnnotationState.SKIPPED for first in given)
        found.append(
            Person(name, len(given) - skipped, skipped, median(seconds) if seconds else None, _per_hour(given))
        )
    return sorted(found, key=lambda person: (-person.answers, person.name))


def _per_hour(firsts: Sequence[First]) -> float | None:
    """Answers in an hour of labelling, each person's pauses left out."""
    last: dict[str, First] = {}
    spent, counted = timedelta(), 0
    for first in firsts:
        before = last.get(first.person)
        if before is not None and first.answered_at - before.answered_at <= _PAUSE:
            spent += first.answered_at - before.answered_at
            counted += 1
        last[first.person] = first
    hours = spent / timedelta(hours=1)
    return counted / hours if hours else None


def _prelabels(firsts: Iterable[First], names: Mapping[int, str]) -> Prelabels:
    counts: Counter[Prelabel] = Counter()
    by_class: dict[str, Counter[Prelabel]] = defaultdict(Counter)
    for first in firsts:
        if first.state is AnnotationState.ACTIVE:
            counts[first.prelabel] += 1
            class_id = first.said[0]
            if class_id is not None:
                by_class[names[class_id]][first.prelabel] += 1
    corrected = {name: _of(by_class[name], Prelabel.CHANGED, Prelabel.ACCEPTED) for name in names.values()}
    return Prelabels(
        accepted=_of(counts, Prelabel.ACCEPTED, Prelabel.CHANGED),
        corrected={name: share for name, share in corrected.items() if share.of},
        hidden=_of(counts, Prelabel.HIDDEN_SAME, Prelabel.HIDDEN_OTHER),
    )


def _of(counts: Mapping[Prelabel, int], hit: Prelabel, miss: Prelabel) -> Share:
    return Share(counts.get(hit, 0), counts.get(hit, 0) + counts.get(miss, 0))


def _spread(session: Session, keepers: Sequence[int]) -> int:
    """Members of labelled keepers' groups that have no label of their own."""
    query = select(func.count()).select_from(Image).outerjoin(Label, Label.image_id == Image.id)
    behind = Image.is_keeper.is_(False) & (Image.state != ImageState.FORGOTTEN) & Label.image_id.is_(None)
    found = 0
    for ids in chunks(keepers):
        groups = select(Image.group_id).where(Image.id.in_(ids), Image.group_id.is_not(None))
        found += session.scalar(query.where(Image.group_id.in_(groups), behind)) or 0
    return found


def _checked(session: Session) -> Share:
    """Compare what people say of a sample of accepted answers with what the run had said."""
    query = (
        select(Annotation.class_id, Label.class_id)
        .join(Review, Review.image_id == Annotation.image_id)
        .join(Label, Label.image_id == Annotation.image_id)
        .where(Annotation.origin == AnnotationOrigin.ACCEPTED, Annotation.state == AnnotationState.ACTIVE)
        .where(Review.reason == ReviewReason.CHECK, Review.done_at.is_not(None))
    )
    pairs = session.execute(query).all()
    return Share(sum(accepted == person for accepted, person in pairs), len(pairs))


def _left(
    project: Project, firsts: Sequence[First], names: Mapping[int, str], labelled: Mapping[int | None, int]
) -> Left:
    target = project.settings.dataset.target
    missing = {name: max(0, target - labelled.get(class_id, 0)) for class_id, name in names.items()}
    recent = firsts[-_RECENT:]
    hits = sum(first.said[0] is not None and missing[names[first.said[0]]] > 0 for first in recent)
    return Left(missing, hits / len(recent) if recent else None, _per_hour(recent))
