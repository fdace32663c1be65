"""Whether an image is of none of the classes: how far what the network sees in it lies from what it learned from.

A softmax cannot say so: it shares 1 out among the classes it knows, and a guitar of no class often looks surely like
one. So two things are added, in standard deviations of the images held out: the distance of the features from the
nearest image that was learned from (Sun et al., ICML 2022, there of normalised features: their length tells more than
it disturbs), and half of what the answer's probability lacks of 1 (Hendrycks and Gimpel, ICLR 2017).
`docs/decisions.md` has what was compared.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

BANK_FILE = "bank.safetensors"
BORDER = 0.5
"""Of all scores: what lies beyond is outside."""
_SURE_SHARE = 0.95
"""Share of the right answers that count as inside: the other twentieth is the price of finding what lies outside."""
_FEWEST = 20
_MOST_IMAGES = 1000
"""In a bank: 2,000 told no better, 500 worse."""
_DOUBT = 0.5
_LEAST_SPREAD = 0.05
"""Share by which validation images count as spread at least: where all are alike, a trifle would seem far away."""
_TINY = 1e-12


def sample(labels: Tensor, most: int = _MOST_IMAGES) -> Tensor:
    """Choose the rows of the images that make a bank: every one, or at most 1,000, with each class in its share."""
    by_class = torch.argsort(labels, stable=True)
    each = max(1, -(-len(labels) // most))
    return by_class[::each].sort().values


@dataclass(frozen=True)
class Bank:
    """Features of images that were learned from."""

    features: Tensor
    """(N, D), half precision: 4 MB for a thousand images of ResNet-50."""

    @classmethod
    def of(cls, features: Tensor) -> "Bank":
        """Keep features, (N, D), as `outputs_of` gives them."""
        most = torch.finfo(torch.float16).max
        return cls(features.clamp(-most, most).half())

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Bank":
        """Undo `tensors`."""
        return cls(tensors["features"])

    def tensors(self) -> dict[str, Tensor]:
        """Give what is to be kept, by name."""
        return {"features": self.features}

    def distances(self, features: Tensor) -> Tensor:
        """Euclidean distance of features, (M, D), from the nearest in the bank, (M,)."""
        asked, (known, lengths) = features.double(), self._known
        # One product of matrices; in double precision, for it subtracts large numbers from each other.
        squares = asked.square().sum(1, keepdim=True) + lengths - 2 * asked @ known.T
        return squares.min(1).values.clamp(min=0).sqrt()

    @functools.cached_property
    def _known(self) -> tuple[Tensor, Tensor]:
        """Its features in double precision, and the squares of their lengths."""
        known = self.features.double()
        return known, known.square().sum(1)


@dataclass(frozen=True)
class Border:
    """What divides inside from outside, from the images held out: plain numbers, for JSON."""

    distance: float
    """Standard deviation of the distances."""
    doubt: float
    """Standard deviation of what probabilities lack of 1."""
    at: float
    """Sum of the distance and half the doubt, in these units, that 95 % of the images answered right stay under."""

    def scores(self, distances: Tensor, probabilities: Tensor) -> Tensor:
        """How far outside, (N,), from 0 to 1: 0.5 is the border, and beyond it lies what is none of the classes.

        From distances, (N,), and the probabilities of the answers, (N,). The sum s becomes s / (s + border).
        """
        return _share(_sums(distances, probabilities, self.distance, self.doubt), self.at)


def border(distances: Tensor, logits: Tensor, labels: Tensor, temperature: float) -> Border | None:
    """Find the border by images held out: (N,) distances, (N, C) outputs, (N,) labels. None: too few to tell."""
    probabilities, answers = functional.softmax(logits.double() / temperature, dim=1).max(1)
    right = answers == labels
    if int(right.sum()) < _FEWEST:
        return None
    distances, probabilities = distances[right].double(), probabilities[right]
    distance = max(float(distances.std()), _LEAST_SPREAD * float(distances.mean()), _TINY)
    doubt = max(float(probabilities.std()), _LEAST_SPREAD)
    sums = _sums(distances, probabilities, distance, doubt)
    return Border(distance, doubt, at=max(float(torch.quantile(sums, _SURE_SHARE)), _TINY))


def _sums(distances: Tensor, probabilities: Tensor, distance: float, doubt: float) -> Tensor:
    return distances / distance + _DOUBT * (1 - probabilities) / doubt


def scores_by_softmax(probabilities: Tensor, below: float) -> Tensor:
    """Score, as `Border.scores`, by the probability of the answer alone: for runs that know no distances."""
    return _share(1 - probabilities.double(), max(1 - below, _TINY))


def _share(value: Tensor, at: float) -> Tensor:
    return value / (value + at)
