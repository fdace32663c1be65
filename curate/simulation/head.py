"""The model of the cheap mode: one layer on features that stay as they are."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from curate.simulation.replay import Learned
from curate.strategies.interface import Numbers, Rows

_FREEDOM = 25.0
"""Of the weights (scikit-learn's C) for a single feature; the more features, the less for each. On 512 features of
photographs of ten classes this gave the best accuracy, or within 0.01 of it, from 200 labels to 2,000."""
_STEPS = 300


class Head:
    """Multinomial logistic regression; a class that no label was seen of has probability 0."""

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.model = LogisticRegression(max_iter=_STEPS, tol=1e-4)

    def learn(self, features: NDArray[np.float32], labels: NDArray[np.int64]) -> Self:
        """Learn from all of these, and from nothing else: the same labels give the same model, however they came."""
        self.model.C = _FREEDOM / features.shape[1]
        self.model.fit(features, labels)
        return self

    def probabilities(self, features: NDArray[np.float32]) -> Numbers:
        """(N, K), float64."""
        found = np.zeros((len(features), self.classes))
        found[:, self.model.classes_] = self.model.predict_proba(features)
        return found


@dataclass(frozen=True, slots=True)
class Linear:
    """What each round learns in the cheap mode: a head on features that the pretrained network gave once."""

    features: NDArray[np.float32]
    """(N, D), each column with mean 0 and spread 1."""
    labels: NDArray[np.int64]
    """(N,)."""
    validation: NDArray[np.float32]
    """(M, D), on the same scale."""
    validation_labels: NDArray[np.int64]
    classes: int

    @classmethod
    def of(
        cls, features: NDArray[np.float32], labels: NDArray[np.int64], held: NDArray[np.int64], classes: int
    ) -> "Linear":
        """Scale features, of the pool first and then of the images held out, and part them."""
        pool = features[: len(labels)]
        scaler = StandardScaler().fit(pool)
        validation = np.asarray(scaler.transform(features[len(labels) :]), np.float32)
        return cls(np.asarray(scaler.transform(pool), np.float32), labels, validation, held, classes)

    def learn(self, rows: Rows) -> Learned:
        """Fit a head anew."""
        head = Head(self.classes).learn(self.features[rows], self.labels[rows])
        answers = head.probabilities(self.validation).argmax(1)
        accuracy = float((answers == self.validation_labels).mean())
        return Learned(accuracy, self.features, head.probabilities(self.features))
