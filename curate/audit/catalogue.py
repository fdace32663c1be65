"""`curate audit --catalogue`: which images of a list are of another class than it claims, and which of none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.nn import functional

from curate import runs
from curate.audit.offers import Offer, opened, read_offers
from curate.config import class_key
from curate.predicting import refusal_of
from curate.progress import QUIET, Progress
from curate.project import Project
from db.answers import Other
from db.reasons import Reason, Refusal
from trainer.predict import Answer, Predictor, read_run, read_validation

Numbers = NDArray[np.float64]
_FALSE_ALARMS = 0.02
"""Share of the held-out images, whose labels are right, that would be doubted for their class."""


@dataclass(frozen=True, slots=True)
class OfferIssue:
    """An offer that is probably not what it claims. `score` says how surely, from 0 to 1."""

    offer: Offer
    label: str
    suggested: str
    """A class, or "None of these"."""
    score: float
    reason: str


@dataclass(frozen=True)
class CatalogueReport:
    """All of it, the worst first, and the rows that could not be judged."""

    run: str
    offers: int
    issues: list[OfferIssue]
    failures: list[tuple[Offer, Refusal]]
    folder: Path
    """That paths are relative to."""
    found: int = 0
    """Issues there are, also where not all are listed."""

    def worst(self, most: int | None) -> "CatalogueReport":
        """The same with so many issues at most."""
        return replace(self, issues=self.issues[:most])


def audit_catalogue(
    project: Project, file: Path, run: str | None, threshold: float | None, progress: Progress = QUIET
) -> CatalogueReport:
    """Judge the offers of a list by the best run, or `run`, which must not have learned from them.

    An offer is doubted where another class is more probable, and its own less so than that of 98 in 100 held-out
    images; and where it is like nothing that the run knows, and its class less probable than on average for held-out
    images of that class. Or else where its score is `threshold` or more. Raises DatasetError for a list that cannot be
    read, and where there is no such run.
    """
    offers = read_offers(file)
    with project.database.read() as session:
        chosen = runs.choose(session, run, [c.name for c in project.settings.classes])
        now = runs.names_now(session, chosen)
    predictor = Predictor.load(project.runs / chosen.name, pictures=len(offers), say=progress.say)
    names = [name or old for name, old in zip(now, chosen.classes, strict=True)]
    judge = _Judge(names, *_lines(project, chosen.name))
    known = {class_key(name): place for place, name in [*enumerate(chosen.classes), *enumerate(judge.classes)]}
    report = CatalogueReport(chosen.name, len(offers), [], [], file.absolute().parent)
    with (
        progress.task(f"judging by {chosen.name}", len(offers), "offers") as task,
        opened(project, report.folder, offers) as sources,
    ):
        for offer, answer in zip(offers, predictor.stream(sources), strict=True):
            _note(report, judge, offer, answer, known, threshold)
            task.advance()
    ordered = sorted(report.issues, key=lambda issue: (-issue.score, issue.offer.row))
    return replace(report, issues=ordered, found=len(ordered))


def _note(
    report: CatalogueReport,
    judge: "_Judge",
    offer: Offer,
    answer: Answer | Exception,
    known: Mapping[str, int],
    threshold: float | None,
) -> None:
    if not isinstance(answer, Answer):
        report.failures.append((offer, refusal_of(answer)))
    elif class_key(offer.claimed) not in known:
        named = f"no class {offer.claimed!r}; the run knows {', '.join(judge.classes)}"
        report.failures.append((offer, Refusal(Reason.UNKNOWN_CLASS, named)))
    else:
        issue = judge.issue(offer, answer, known[class_key(offer.claimed)], threshold)
        if issue is not None:
            report.issues.append(issue)


def _lines(project: Project, run: str) -> tuple[float, Numbers]:
    """How probable right classes of held-out images are: all but the least of them, and each class on average."""
    from cleanlab.count import get_confident_thresholds  # noqa: PLC0415 - a second to import

    said = read_validation(project.runs / run)
    temperature = read_run(project.runs / run)["temperature"]
    probabilities = functional.softmax(said.logits.double() / temperature, dim=1).numpy()
    labels = said.labels.numpy()
    own = probabilities[np.arange(len(labels)), labels]
    usual = np.asarray(get_confident_thresholds(labels, probabilities), np.float64)
    return float(np.quantile(own, _FALSE_ALARMS, method="lower")), usual


@dataclass(frozen=True)
class _Judge:
    """What makes an offer an issue."""

    classes: Sequence[str]
    least: float
    """Probability that nearly all right classes have."""
    usual: Numbers
    """That each class has on average where it is right."""

    def issue(self, offer: Offer, answer: Answer, claimed: int, threshold: float | None) -> OfferIssue | None:
        """Give what is wrong with an offer, if anything is."""
        said = np.array(answer.probabilities)
        others = np.where(np.arange(len(said)) == claimed, -1.0, said)
        best = int(others.argmax())
        wrong = float(1 - said[claimed])
        another = answer.label != claimed and bool(said[claimed] <= self.least)
        strange = answer.outside and not another and bool(said[claimed] < self.usual[claimed])
        score = max(wrong, answer.outside_score) if strange else wrong
        if not (another or strange if threshold is None else score >= threshold):
            return None
        label, other = self.classes[claimed], self.classes[best]
        if strange:
            reason = f"like nothing that the run knows; nearest to {self.classes[answer.label]} ({answer.score:.2f})"
            return OfferIssue(offer, label, Other.NONE.caption, score, reason)
        reason = f"looks like {other} ({said[best]:.2f}) rather than {label} ({said[claimed]:.2f})"
        return OfferIssue(offer, label, other, score, reason)
