"""Whether one run is better than another: both asked of the same images, that neither has learned from."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate import runs
from curate.evaluating import Evaluation, evaluation
from curate.project import Project
from curate.share import Share
from db.batches import chunks
from db.errors import DatasetError
from db.models import Image
from trainer.manifest import TRAIN

SIGNIFICANT = 0.05
"""A difference that chance alone would give less often than this is called one."""


@dataclass(frozen=True, slots=True)
class Said:
    """One run's answer for an image, and its calibrated probability."""

    answer: str
    score: float
    right: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """An image that both runs were asked."""

    sha256: str
    label: str
    first: Said
    second: Said


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs on the images that both held out."""

    first: str
    second: str
    asked: list[Asked]
    relabelled: int
    """Images left out because the runs were told different classes."""
    learned: int
    """Images left out because a run learned from them, or from a near-duplicate of theirs."""
    copies: int
    """Images left out because a near-duplicate of theirs is asked already."""

    @property
    def both_right(self) -> int:
        """Images that tell nothing of the difference, like those that both get wrong."""
        return sum(one.first.right and one.second.right for one in self.asked)

    @property
    def both_wrong(self) -> int:
        """Whether or not with the same answer."""
        return sum(not one.first.right and not one.second.right for one in self.asked)

    @property
    def only_first(self) -> list[Asked]:
        """Images that the first run alone gets right, those that the second was surest of first."""
        found = [one for one in self.asked if one.first.right and not one.second.right]
        return sorted(found, key=lambda one: -one.second.score)

    @property
    def only_second(self) -> list[Asked]:
        """Images that the second run alone gets right, those that the first was surest of first."""
        found = [one for one in self.asked if one.second.right and not one.first.right]
        return sorted(found, key=lambda one: -one.first.score)

    @property
    def wrong_otherwise(self) -> list[Asked]:
        """Images that both get wrong, with different answers."""
        found = [one for one in self.asked if not one.first.right and not one.second.right]
        differing = [one for one in found if one.first.answer != one.second.answer]
        return sorted(differing, key=lambda one: -max(one.first.score, one.second.score))

    @property
    def differing(self) -> list[Asked]:
        """All images with different answers."""
        return [*self.only_first, *self.only_second, *self.wrong_otherwise]

    @property
    def accuracies(self) -> tuple[Share, Share]:
        """Of each run, on these images."""
        of = len(self.asked)
        return (
            Share(sum(one.first.right for one in self.asked), of),
            Share(sum(one.second.right for one in self.asked), of),
        )

    @property
    def p_value(self) -> float:
        """Of McNemar's exact test."""
        return mcnemar(len(self.only_first), len(self.only_second))

    @property
    def better(self) -> str | None:
        """The run that is better, if the images show that one is."""
        if self.p_value >= SIGNIFICANT:
            return None
        return self.first if len(self.only_first) > len(self.only_second) else self.second

    @property
    def verdict(self) -> str:
        """What that comes to, in one line."""
        a, b = len(self.only_first), len(self.only_second)
        p = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.2g}"  # noqa: PLR2004 - as papers write it
        of = f"of {len(self.asked)} ({p})"
        if self.better is None:
            return f"no difference that these images could show: {a} to {b} {of}"
        return f"{self.better} is better: {max(a, b)} to {min(a, b)} {of}"


def compare(project: Project, first: str, second: str) -> Comparison:
    """Compare two runs, by what their classes count as today: one may have been renamed or merged between them.

    Raises DatasetError where they are one, or have no image in common, and WeightsError.
    """
    if first == second:
        raise DatasetError(f"{first} is one run; name two that differ")
    left, right = evaluation(project, first), evaluation(project, second)
    with project.database.read() as session:
        mine, theirs = (_said(one, _names(session, one)) for one in (left, right))
    common = sorted(mine.keys() & theirs.keys())
    if not common:
        raise DatasetError(
            f"{first} and {second} held out no image in common: nothing can be compared. Runs of one project do,"
            " after `curate split` and `curate train`"
        )
    same = [sha256 for sha256 in common if mine[sha256][0] == theirs[sha256][0]]
    learned = {sha256 for one in (left, right) for sha256 in _train_side(project, one.run)}
    with project.database.read() as session:
        fresh, single = _independent(session, same, learned)
    if not single:
        raise DatasetError(
            f"of the {len(common)} images that {first} and {second} both held out none is left: their labels differ,"
            " or a run learned from copies of them"
        )
    asked = [Asked(sha256, *mine[sha256], theirs[sha256][1]) for sha256 in single]
    left_out = len(common) - len(same), len(same) - len(fresh), len(fresh) - len(single)
    return Comparison(left.run, right.run, asked, *left_out)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of McNemar's exact test (McNemar 1947; for classifiers, Dietterich 1998).

    Of images that one run alone gets right, each run would get half if they were equally good: a binomial test. Its
    approximation by chi-squared wants 25 such images, which a small validation side does not have.
    """
    of, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(of, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / (1 << of))


def _names(session: Session, found: Evaluation) -> list[str]:
    """Names of a run's classes today; that of one that was removed is the old one."""
    now = runs.names_now(session, runs.choose(session, found.run, []))
    return [name or old for name, old in zip(now, found.classes, strict=True)]


def _said(found: Evaluation, names: Sequence[str]) -> dict[str, tuple[str, Said]]:
    """Labels and answers by the SHA-256 of the images."""
    return {
        sha256: (names[label], Said(names[answer], float(score), names[label] == names[answer]))
        for sha256, label, answer, score in zip(found.sha256, found.labels, found.answers, found.scores, strict=True)
    }


def _train_side(project: Project, run: str) -> list[str]:
    """SHA-256s of what a run learned from, as it wrote them down."""
    with (project.runs / run / "manifest.csv").open(newline="") as file:
        return [row["sha256"] for row in csv.DictReader(file) if row["split"] == TRAIN]


def _independent(session: Session, wanted: list[str], learned: set[str]) -> tuple[list[str], list[str]]:
    """Those of `wanted` that no run has learned from, nor from a copy; and of these one of each near-duplicate group.

    Groups as they stand today: a later search may have joined what was apart when the runs were made.
    """
    taken = set(_groups(session, learned).values())
    home = _groups(session, wanted)
    fresh = [sha256 for sha256 in wanted if sha256 not in learned and home.get(sha256) not in taken]
    # An image without a group stands for itself.
    single = {home.get(sha256, sha256): sha256 for sha256 in reversed(fresh)}
    return fresh, sorted(single.values())


def _groups(session: Session, hashes: Iterable[str]) -> dict[str, int]:
    """Groups of those images that are in one."""
    found: dict[str, int] = {}
    for batch in chunks(hashes):
        query = select(Image.sha256, Image.group_id).where(Image.sha256.in_(batch))
        found |= {sha256: group for sha256, group in session.execute(query) if group is not None}
    return found
