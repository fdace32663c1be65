"""`curate status --loop`: what each round came to, what the next labels are worth, and which classes still gain."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from curate import runs
from curate.project import Project
from curate.rounds import curve, record
from curate.rounds.curve import Curve, Estimate, Point
from curate.share import Difference, Share, difference
from curate.status import status
from db.models import LabellingTask, Round, Run

STEP = 100
"""Labels whose worth is said."""
_BACK = 3
"""Rounds over which a class's rise is taken."""


@dataclass(frozen=True, slots=True)
class RoundReport:
    """One round: what was labelled by its end, the run trained on that, and how its predecessor's pre-labels fared."""

    round: int
    labelled: int
    complete: int
    """Classes that have their target."""
    run: str
    validation_accuracy: float
    prelabels_accepted: float | None
    """Share of the shown pre-labels that people left as they were; None while there were none."""
    pushed: int
    """Images handed out after it."""
    snapshot: int
    learned: int
    """Images that the run learned from."""
    right: Share
    """Of the images held out."""
    recall: dict[str, Share]
    """By present class; of those that the run knows."""
    prelabels_shown: int
    waited_seconds: float | None
    """From the end of the training before until its labels were taken."""
    labelling_seconds: float
    """That people spent on its answers."""
    training_seconds: float
    strategy: str
    """By which its images were chosen."""
    crawled: dict[str, int] = field(default_factory=dict)
    """New images by class, where the loop crawled for those that are short."""
    settings: tuple[str, ...] = field(default=(), repr=False)
    """What must be alike for two rounds to lie on one curve."""

    @property
    def used(self) -> int:
        """Labels that the split has a place for, on either side."""
        return self.learned + self.right.of


@dataclass(frozen=True, slots=True)
class Forecast:
    """What further labels are worth, by the curve through the rounds."""

    rounds: int
    """That it rests on: the last ones, of one network and one list of classes."""
    labels: int
    """In the present split."""
    step: int
    gain: Estimate
    """In accuracy, by `step` more."""
    whole: int
    """Labels of a split in which every class has its target."""
    whole_accuracy: Estimate
    enough: Estimate
    """Labels still to come until the accuracy is within 0.01 of that."""
    ceiling: Estimate
    """What any number of labels would give."""
    curve: Curve = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClassGain:
    """One class: how many of its images are found, how much that rose of late, and what it lacks."""

    name: str
    recall: Share
    rise: Difference | None
    """Over the last three rounds, or as many as there are."""
    lacks: int
    """Labels to its target."""
    pays: bool
    """It lacks labels, and its recall is below the accuracy of all, or rose of late."""


@dataclass(frozen=True, slots=True)
class LoopAccount:
    """All of it."""

    rounds: list[RoundReport]
    forecast: Forecast | None
    rounds_missing: int
    """Until there can be a forecast."""
    classes: list[ClassGain]


def account(project: Project) -> LoopAccount:
    """Tell of all rounds on record; those that ended before rounds were kept are recorded first."""
    record.catch_up(project)
    with project.database.read() as session:
        found, classes = _rounds(session), len(project.classes(session))
    alike = _alike(found)
    whole = project.settings.dataset.target * classes
    missing = max(0, curve.FEWEST - len(alike))
    forecast = None if missing else _forecast(alike, whole)
    lacks = {name: max(0, one.target - one.labelled) for name, one in status(project).classes.items()}
    return LoopAccount(found, forecast, missing, _classes(found, lacks))


def round_of(project: Project, run: str) -> RoundReport:
    """Tell of the round that a run was the end of."""
    with project.database.read() as session:
        return next(one for one in _rounds(session, run) if one.run == run)


def _rounds(session: Session, wanted: str = "") -> list[RoundReport]:
    """All rounds in order; a further run on the same labels, as by another seed, is none, unless it is wanted."""
    rows = session.execute(select(Round, Run).join(Run, Run.id == Round.run_id).order_by(Run.id)).all()
    kept: list[tuple[Round, Run]] = []
    for one, run in rows:
        again = bool(kept) and (kept[-1][1].snapshot_id, kept[-1][0].labelled) == (run.snapshot_id, one.labelled)
        if not again or run.name == wanted:
            kept.append((one, run))
    found = []
    for place, (one, run) in enumerate(kept):
        following = kept[place + 1][0] if place + 1 < len(kept) else None
        found.append(_report(session, place + 1, one, run, following))
    return found


def _report(session: Session, number: int, one: Round, run: Run, following: Round | None) -> RoundReport:
    images, accuracy = run.validation_images or 0, run.validation_accuracy or 0.0
    return RoundReport(
        round=number,
        labelled=one.labelled,
        complete=one.complete,
        run=run.name,
        validation_accuracy=accuracy,
        prelabels_accepted=Share(one.accepted, one.shown).value,
        pushed=_pushed(session, one, following),
        snapshot=run.snapshot_id,
        learned=one.learned,
        right=Share(round(accuracy * images), images),
        recall=_recall(runs.names_now(session, run), one.recall),
        prelabels_shown=one.shown,
        waited_seconds=one.waited_seconds,
        labelling_seconds=one.labelling_seconds,
        training_seconds=0.0 if run.finished_at is None else (run.finished_at - run.started_at).total_seconds(),
        strategy=one.strategy,
        settings=(run.arch, *(str(run.options.get(key)) for key in ("init", "size", "recipe")), *sorted(run.classes)),
    )


def _recall(names: Sequence[str | None], kept: dict[str, Any]) -> dict[str, Share]:
    """By the names that classes have now. What was merged is one class, and its images are found where any is."""
    counts: dict[str, tuple[int, int]] = {}
    for name, right, images in zip(names, kept.get("right", ()), kept.get("images", ()), strict=False):
        if name is not None:
            before = counts.get(name, (0, 0))
            counts[name] = (before[0] + right, before[1] + images)
    return {name: Share(*both) for name, both in counts.items()}


def _pushed(session: Session, one: Round, following: Round | None) -> int:
    later = select(func.count()).where(LabellingTask.sent_at > one.labels_until)
    if following is not None:
        later = later.where(LabellingTask.sent_at <= following.labels_until)
    return session.scalar(later) or 0


def _alike(found: Sequence[RoundReport]) -> list[RoundReport]:
    """The last rounds that one curve can go through: of one kind of network, on one list of classes."""
    alike: list[RoundReport] = []
    for one in reversed(found):
        if one.settings != found[-1].settings:
            break
        if one.right.of and (not alike or one.used < alike[-1].used):
            alike.append(one)
    return alike[::-1]


def _forecast(alike: Sequence[RoundReport], whole: int) -> Forecast:
    fitted = curve.fit([Point(one.used, one.right.hits, one.right.of) for one in alike])
    step = min(STEP, max(1, whole - fitted.labels))
    return Forecast(
        rounds=len(alike),
        labels=fitted.labels,
        step=step,
        gain=fitted.gain(step),
        whole=whole,
        whole_accuracy=fitted.at(max(whole, fitted.labels)),
        enough=fitted.more_for(whole),
        ceiling=fitted.limit,
        curve=fitted,
    )


def _classes(found: Sequence[RoundReport], lacks: dict[str, int]) -> list[ClassGain]:
    """All classes that the last run knows, those first that lack labels and are found least."""
    if not found:
        return []
    last, back = found[-1], found[-1 - min(_BACK, len(found) - 1)]
    accuracy = last.validation_accuracy
    gains = []
    for name, recall in last.recall.items():
        before = back.recall.get(name) if back is not last else None
        rise = difference(recall, before) if before is not None and before.of and recall.of else None
        hungry = recall.value is None or recall.value < accuracy or (rise is not None and rise.value > 0)
        lack = lacks.get(name, 0)
        gains.append(ClassGain(name, recall, rise, lack, pays=lack > 0 and hungry))
    return sorted(gains, key=lambda one: (not one.pays, one.recall.value or 0.0, one.name))
