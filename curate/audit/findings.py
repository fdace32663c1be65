"""What an audit finds of one image, and why."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from sklearn.preprocessing import normalize

from curate.audit.labelled import Labelled
from curate.audit.outliers import nearest
from curate.audit.scores import Scores
from curate.conflicts import Conflict
from db.answers import Other
from trainer.discriminant import Numbers
from trainer.features import Features

_LISTED = 3
"""Images that a reason names of each side of a conflict."""


class Kind(StrEnum):
    """What is wrong: the label, copies that are labelled differently, or the image itself."""

    LABEL = "label"
    CONFLICT = "conflict"
    OUTLIER = "outlier"


@dataclass(frozen=True, slots=True)
class Finding:
    """One image's. `score` says how surely `label` is wrong, from 0 to 1."""

    id: int
    label: str
    """A class, or "None of these"; so is what is suggested."""
    suggested: str
    score: float
    kind: Kind
    reason: str
    like: int | None = None
    """The image labelled as suggested that is most like it."""


def of_labels(data: Labelled, scores: Scores, features: Features) -> Iterator[Finding]:
    """Yield what is flagged."""
    unit, sure = normalize(features), scores.probabilities.argmax(1) == data.labels
    examples = {label: np.flatnonzero((data.labels == label) & sure) for label in range(len(data.classes))}
    for row in np.flatnonzero(scores.flagged).tolist():
        said, item = scores.probabilities[row], data.items[row]
        best = int(np.where(np.arange(len(said)) == item.label, -1.0, said).argmax())
        label, suggested = data.classes[item.label], data.classes[best]
        reason = f"looks like {suggested} ({said[best]:.2f}) rather than {label} ({said[item.label]:.2f})"
        like = nearest(unit, row, examples[best])
        example = None if like is None else int(data.items[like].id)
        yield Finding(int(item.id), label, suggested, float(scores.wrong[row]), Kind.LABEL, reason, example)


def of_conflicts(
    disputes: Iterable[Conflict], probabilities: Mapping[int, Numbers], classes: tuple[str, ...]
) -> Iterator[Finding]:
    """Yield the copies that are labelled differently: the least probable label of each is the wrong one, presumably."""
    for dispute in disputes:
        said = probabilities[dispute.keeper]
        chances = {name: float(said[classes.index(name)]) if name in classes else 0.0 for name in dispute.labels}
        ranked = sorted(chances, key=lambda name: -chances[name])
        total = sum(chances.values())
        score = 1 - chances[ranked[-1]] / total if total else 0.5
        which = "one file is" if dispute.exact else "copies are"
        named = "; ".join(f"{name}: image {_listed(ids)}" for name, ids in dispute.labels.items())
        reason = f"{which} labelled differently ({named}), and nobody has decided"
        yield Finding(dispute.keeper, ranked[-1], ranked[0], score, Kind.CONFLICT, reason)


def of_outliers(data: Labelled, strange: Numbers, doubted: Iterable[int]) -> Iterator[Finding]:
    """Yield images that resemble no other, those aside whose label is doubted anyway or says so."""
    known = set(doubted)
    for row in np.flatnonzero(strange > 0.5).tolist():  # noqa: PLR2004 - where outliers begin
        item = data.items[row]
        if int(item.id) not in known and data.classes[item.label] != Other.NONE.caption:
            reason = "unlike all other labelled images: perhaps of no class, or not a picture of the thing"
            label = data.classes[item.label]
            yield Finding(int(item.id), label, Other.NONE.caption, float(strange[row]), Kind.OUTLIER, reason)


def _listed(ids: list[int]) -> str:
    more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
    return ", ".join(map(str, ids[:_LISTED])) + more
