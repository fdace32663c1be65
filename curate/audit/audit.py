"""`curate audit`: labels of the dataset that are probably wrong, the worst first, and why."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from curate import runs
from curate.audit.annotators import Annotator, annotators
from curate.audit.asking import Decisions, decisions
from curate.audit.findings import Finding, Kind, of_conflicts, of_labels, of_outliers
from curate.audit.labelled import Labelled, items_of, labelled_keepers
from curate.audit.outliers import strangeness
from curate.audit.retrained import retrained
from curate.audit.scores import TIMES, Scores, calibrated, judge, out_of_fold
from curate.conflicts import conflicts
from curate.embedding import features_of, load_embedder, run_embedder
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.training import options_from
from db.batches import chunks
from db.models import Image, Run
from trainer.embed import Embedder
from trainer.features import Features

_TINY = 1e-12
_FEWEST_BEYOND_CHANCE = 0.5
"""Measured with 2 to 10 classes and 5 to 80 labels of each, 5 or 10 % of them flipped: below, at most one in six of the
labels on the list was wrong, above at least one in four."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to audit by."""

    run: str | None = None
    """Whose features; else those of the network that training begins with, which has seen no label."""
    retrain: bool = False
    """Judge by networks that learned from other folds, instead of features."""
    threshold: float | None = None
    """Score from which on a label is listed; else where confident learning draws the line."""


@dataclass(frozen=True, slots=True)
class Issue:
    """A finding, and where it stands."""

    finding: Finding
    path: str
    ask: tuple[int, ...]
    """Images to ask people about."""
    waiting: bool
    """Somebody is asked already."""


@dataclass(frozen=True)
class AuditReport:
    """All of it, the worst first."""

    issues: list[Issue]
    images: int
    """Labelled keepers that were audited."""
    by: str
    """The network whose features were judged by."""
    agree: float
    """Share of the labels that are the most probable class to models that have not seen them."""
    kappa: float
    """The same beyond chance (Cohen): 0 is what guessing would give, and 1 all of them."""
    threshold: float | None
    """Score from which on a label is listed, where it was asked for."""
    settled: int
    """Findings left out because somebody decided when asked."""
    annotators: list[Annotator]
    kinds: dict[str, int]
    """How many there are of each kind, also where not all are listed."""

    @property
    def caution(self) -> str:
        """What to know first, where the models know so little that hardly any label on the list is wrong; or empty."""
        if self.kappa >= _FEWEST_BEYOND_CHANCE:
            return ""
        return "too little is known to judge by: five in six labels on such a list were right; label more first"

    @property
    def doubted(self) -> str:
        """What is true of the labels that are listed."""
        return "are probably wrong" if self.threshold is None else f"score {self.threshold:g} or more"

    def worst(self, most: int | None) -> "AuditReport":
        """The same with so many issues at most."""
        return replace(self, issues=self.issues[:most])


def audit(project: Project, asked: Asked, progress: Progress = QUIET) -> AuditReport:
    """Judge every label by models that have not learned from it.

    Changes nothing. Raises DatasetError where there is too little to judge by or no such run, and TrainerError.
    """
    with project.database.read() as session:
        data = labelled_keepers(project, session)
        disputes = conflicts(session, project.classes(session))
        others = items_of(project, session, {dispute.keeper: 0 for dispute in disputes})
        chosen = _run(project, session, asked)
    embedder = load_embedder(project, deep=True) if chosen is None else run_embedder(project, chosen)
    features = features_of(project, embedder, [*data.items, *others], progress)
    count = len(data.items)
    with progress.task("judging labels", TIMES * count, "labels") as task:
        said, beside = out_of_fold(features[:count], data.labels, data.folds, features[count:], task.advance)
    if asked.retrain:
        said = calibrated(retrained(project, data, progress), data.labels)
    scores = judge(data.labels, said, asked.threshold)
    conflicting = of_conflicts(disputes, {int(o.id): p for o, p in zip(others, beside, strict=True)}, data.classes)
    found = [*_of_images(data, scores, features[:count]), *conflicting]
    with project.database.read() as session:
        stand = decisions(session, [finding.id for finding in found])
        left = [finding for finding in found if not _is_settled(finding, stand)]
        people = _annotators(project, session, data, scores, [f for f in left if f.kind is Kind.LABEL], stand)
        issues = _issues(session, left, stand)
    guessed = said.argmax(1)
    return AuditReport(
        issues=issues,
        images=count,
        by=_told(embedder, chosen, asked),
        agree=float((guessed == data.labels).mean()),
        kappa=_kappa(data.labels, guessed),
        threshold=asked.threshold,
        settled=len(found) - len(left),
        annotators=people,
        kinds={kind.value: sum(finding.kind is kind for finding in left) for kind in Kind},
    )


def _kappa(labels: NDArray[np.int64], guessed: NDArray[np.int64]) -> float:
    from sklearn.metrics import cohen_kappa_score  # noqa: PLC0415 - a second of imports, paid only where it is used

    return float(cohen_kappa_score(labels, guessed))


def _run(project: Project, session: Session, asked: Asked) -> Run | None:
    """The run to take features from; None: the network that training begins with."""
    classes = [c.name for c in project.settings.classes]
    if asked.run is not None:
        return runs.choose(session, asked.run, classes)
    # What begins with nothing tells little before it has learned; a run has learned from the very labels, at least.
    return runs.best(session, classes) if options_from(project).init == "none" else None


def _told(embedder: Embedder, run: Run | None, asked: Asked) -> str:
    if asked.retrain:
        return "networks trained without them"
    return f"features of {'run ' + run.name if run is not None else embedder.name}"


def _of_images(data: Labelled, scores: Scores, features: Features) -> list[Finding]:
    doubted = list(of_labels(data, scores, features))
    return [*doubted, *of_outliers(data, strangeness(features), [finding.id for finding in doubted])]


def _is_settled(finding: Finding, stand: Decisions) -> bool:
    """Whether somebody has looked since being asked. Copies that two people told apart are a conflict all the same."""
    return finding.kind is not Kind.CONFLICT and finding.id in stand.settled


def _annotators(
    project: Project, session: Session, data: Labelled, scores: Scores, doubted: Sequence[Finding], stand: Decisions
) -> list[Annotator]:
    ids = project.classes(session)
    named = [name for name in data.classes if name in ids]  # "None of these", the last, is no vote for a class
    shares = scores.probabilities[:, : len(named)] + _TINY  # where all speaks for none of them, none is preferred
    shares = shares / shares.sum(axis=1, keepdims=True)
    probabilities = {int(item.id): said for item, said in zip(data.items, shares, strict=True)}
    wrong = {
        image: ids[finding.label] for finding in doubted if finding.label in ids for image in stand.images[finding.id]
    }
    return annotators(session, wrong, probabilities, [ids[name] for name in named])


def _issues(session: Session, found: Sequence[Finding], stand: Decisions) -> list[Issue]:
    paths: dict[int, str] = {}
    for batch in chunks(finding.id for finding in found):
        for image in session.scalars(select(Image).where(Image.id.in_(batch))):
            paths[image.id] = f"images/{image.relative_path}"
    ordered = sorted(found, key=lambda finding: (-finding.score, finding.id))
    return [Issue(f, paths[f.id], stand.images[f.id], f.id in stand.waiting) for f in ordered]
