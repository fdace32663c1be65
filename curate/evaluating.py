"""How good a finished run is, from what it answered on the images held out: no picture is looked at again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from curate import runs
from curate.project import Project
from curate.share import Share
from db.errors import DatasetError
from trainer.predict import read_run, read_validation
from trainer.trust import Calibration, calibration, confusion

Integers = NDArray[np.int64]
Numbers = NDArray[np.float64]

_MOST_BINS = 10
_FEWEST_IN_BIN = 20
"""Below, a bin's accuracy is chance: with 20 answers, all of them right, its interval still reaches down to 0.84."""


@dataclass(frozen=True, slots=True)
class ClassResult:
    """One class: how many of its images were found, and how many of the answers that name it are right."""

    name: str
    recall: Share
    precision: Share


@dataclass(frozen=True, slots=True)
class Confused:
    """Images of class `label` that were taken for class `answered`, the surest first."""

    label: str
    answered: str
    rows: tuple[int, ...]
    """Places in the evaluation's arrays."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of about the same score: their mean score, and how many of them are right."""

    score: float
    right: Share


@dataclass(frozen=True)
class Evaluation:
    """What a run answered on the N images held out; its arrays are in one order, that of the SHA-256s."""

    run: str
    classes: tuple[str, ...]
    sha256: tuple[str, ...]
    labels: Integers
    """(N,), counted in `classes`; as are the answers."""
    answers: Integers
    scores: Numbers
    """(N,), probability of each answer, calibrated."""
    raw_scores: Numbers
    """The same before the temperature."""
    label_scores: Numbers
    """(N,), calibrated probability of what would be right."""
    calibration: Calibration
    facts: dict[str, Any]
    """`run.json`."""
    epochs: list[dict[str, Any]]
    """`metrics.jsonl`; empty when that file is gone."""

    @property
    def accuracy(self) -> Share:
        """Of all images."""
        return Share(int((self.labels == self.answers).sum()), len(self.labels))

    @property
    def confusion(self) -> Integers:
        """Counts, (classes, classes): rows are labels, columns answers."""
        return confusion(torch.from_numpy(self.answers), torch.from_numpy(self.labels), len(self.classes))

    def per_class(self) -> list[ClassResult]:
        """Recall and precision, in the run's order."""
        counts = self.confusion
        return [
            ClassResult(
                name,
                Share(int(counts[i, i]), int(counts[i].sum())),
                Share(int(counts[i, i]), int(counts[:, i].sum())),
            )
            for i, name in enumerate(self.classes)
        ]

    def confused(self) -> list[Confused]:
        """Every pair of classes of which one was taken for the other, the most frequent first."""
        found: dict[tuple[int, int], list[int]] = {}
        for row in np.argsort(-self.scores, kind="stable"):
            if self.labels[row] != self.answers[row]:
                found.setdefault((int(self.labels[row]), int(self.answers[row])), []).append(int(row))
        ordered = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
        return [Confused(self.classes[a], self.classes[b], tuple(rows)) for (a, b), rows in ordered]

    def bins(self, scores: Numbers) -> list[Bin]:
        """Sort the answers into bins by `scores`, those before or after the temperature."""
        return bins(scores, self.labels == self.answers)


def evaluation(project: Project, run: str | None = None) -> Evaluation:
    """Read what a run answered, or the best. Raises DatasetError without such a run, and WeightsError."""
    with project.database.read() as session:
        chosen = runs.choose(session, run, [c.name for c in project.settings.classes])
    folder = project.runs / chosen.name
    facts, held_out = read_run(folder), read_validation(folder)
    logits = held_out.logits.double()
    raw = functional.softmax(logits, dim=1).numpy()
    calibrated = functional.softmax(logits / facts["temperature"], dim=1).numpy()
    answers = logits.argmax(1).numpy()
    labels = held_out.labels.numpy()
    rows = np.arange(len(answers))
    return Evaluation(
        run=chosen.name,
        classes=tuple(facts["classes"]),
        sha256=held_out.sha256,
        labels=labels,
        answers=answers,
        scores=calibrated[rows, answers],
        raw_scores=raw[rows, answers],
        label_scores=calibrated[rows, labels],
        calibration=calibration(held_out.logits, held_out.labels),
        facts=facts,
        epochs=_epochs(folder / "metrics.jsonl"),
    )


def bins(scores: Numbers, right: NDArray[np.bool_]) -> list[Bin]:
    """Sort answers by score into bins of equally many.

    Scores of a good network crowd at 1: of ten bins of equal width most would be empty. At most ten bins, and fewer
    where they would hold less than 20 answers each.
    """
    count = max(1, min(_MOST_BINS, len(scores) // _FEWEST_IN_BIN))
    order = np.argsort(scores, kind="stable")
    parts: Sequence[Integers] = np.array_split(order, count)
    return [Bin(float(scores[p].mean()), Share(int(right[p].sum()), len(p))) for p in parts if len(p)]


def _epochs(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} is damaged: {error}; take it away, and the report has no curves") from error
