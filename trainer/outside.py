"""Whether an image is of none of the classes: how far what the network sees in it lies from what it learned from.

A softmax cannot say so: it shares 1 out among the classes it knows, and a guitar of no class often looks surely like
one. So two things are added, in standard deviations of the images held out: the distance of the features from the
nearest image that was learned from (Sun et al., ICML 2022, there of normalised features: their length tells more than
it disturbs), and half of what the answer's probability lacks of 1 (Hendrycks and Gimpel, ICLR 2017).

Where people said of images that they are of none of the classes, these tell more than both: a linear discriminant on
the same features takes them for one class more, and its margin over the best of the others is added, four times. No
answer is learned from them. `docs/decisions.md` has what was compared.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainer.discriminant import FARTHEST, Discriminant

BANK_FILE = "bank.safetensors"
BORDER = 0.5
"""Of all scores: what lies beyond is outside."""
_SURE_SHARE = 0.95
"""Share of the right answers that count as inside: the other twentieth is the price of finding what lies outside."""
_FEWEST = 20
_MOST_IMAGES = 1000
"""In a bank: 2,000 told no better, 500 worse."""
_DOUBT = 0.5
_MARGIN = 4.0
_LEAST_SPREAD = 0.05
"""Share by which validation images count as spread at least: where all are alike, a trifle would seem far away."""
_TINY = 1e-12
_OWN = "outsiders."
"""How the names of what is known of outsiders begin, beside the bank's in one file."""


def sample(labels: Tensor, most: int = _MOST_IMAGES) -> Tensor:
    """Choose the rows of the images that make a bank: every one, or at most 1,000, with each class in its share."""
    by_class = torch.argsort(labels, stable=True)
    each = max(1, -(-len(labels) // most))
    return by_class[::each].sort().values


@dataclass(frozen=True)
class Outsiders:
    """A linear discriminant between the classes, and what is of none of them as one class more."""

    mean: Tensor
    spread: Tensor
    """(D,), of the features."""
    weights: Tensor
    """(D, classes + 1), the last for what is of none."""
    bias: Tensor

    @classmethod
    def learn(cls, features: Tensor, labels: Tensor, outsiders: Tensor) -> "Outsiders | None":
        """Learn from features of a bank, (N, D), their labels, (N,), and features of none of them, (M, D).

        None where there are no images of none, or any feature is no number.
        """
        every = torch.cat([features, outsiders]).float()
        if not len(outsiders) or not bool(every.isfinite().all()):
            return None
        classes, counted = torch.unique(labels, return_inverse=True)  # a class may have no image to learn from
        none = torch.full((len(outsiders),), len(classes))
        found = Discriminant().learn(every.numpy(), torch.cat([counted, none]).numpy())
        parts = (found.mean, found.spread, found.weights, found.bias)
        return cls(*(torch.from_numpy(np.ascontiguousarray(part, np.float32)) for part in parts))

    def margins(self, features: Tensor) -> Tensor:
        """How much more features, (M, D), speak for none of the classes than for the likeliest of them, (M,)."""
        scaled = ((features.float() - self.mean) / self.spread).clamp(-FARTHEST, FARTHEST)
        said = scaled @ self.weights + self.bias
        return (said[:, -1] - said[:, :-1].max(1).values).double()


@dataclass(frozen=True)
class Bank:
    """Features of images that were learned from."""

    features: Tensor
    """(N, D), half precision: 4 MB for a thousand images of ResNet-50."""
    outsiders: Outsiders | None = None
    """What is known of images of none of the classes, where people named such."""

    @classmethod
    def of(cls, features: Tensor, outsiders: Outsiders | None = None) -> "Bank":
        """Keep features, (N, D), as `outputs_of` gives them."""
        most = torch.finfo(torch.float16).max
        return cls(features.clamp(-most, most).half(), outsiders)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Bank":
        """Undo `tensors`."""
        own = {name.removeprefix(_OWN): tensor for name, tensor in tensors.items() if name.startswith(_OWN)}
        return cls(tensors["features"], Outsiders(**own) if own else None)

    def tensors(self) -> dict[str, Tensor]:
        """Give what is to be kept, by name."""
        own = {} if self.outsiders is None else vars(self.outsiders)
        return {"features": self.features, **{_OWN + name: tensor for name, tensor in own.items()}}

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
    """Sum of the distance, half the doubt and the margin, in these units, that 95 % of right answers stay under."""
    margin: float | None = None
    """Standard deviation of the margins; None where no image of none of the classes is known."""

    def scores(self, bank: Bank, features: Tensor, probabilities: Tensor) -> Tensor:
        """How far outside, (N,), from 0 to 1: 0.5 is the border, and beyond it lies what is none of the classes.

        From features, (N, D), and the probabilities of the answers, (N,). The sum s becomes s / (s + border); with
        margins, which have signs, it becomes the logistic function of what it is above the border.
        """
        sums = self.sums(bank, features, probabilities.double())
        return _share(sums, self.at) if self.margin is None else torch.sigmoid((sums - self.at) / _MARGIN)

    def sums(self, bank: Bank, features: Tensor, probabilities: Tensor) -> Tensor:
        """Give the sums that `scores` are made of, (N,)."""
        sums = bank.distances(features) / self.distance + _DOUBT * (1 - probabilities) / self.doubt
        if self.margin is None or bank.outsiders is None:
            return sums
        return sums + _MARGIN * bank.outsiders.margins(features) / self.margin


def border(bank: Bank, features: Tensor, logits: Tensor, labels: Tensor, temperature: float) -> Border | None:
    """Find the border by images held out: (N, D) features, (N, C) outputs, (N,) labels. None: too few to tell."""
    probabilities, answers = functional.softmax(logits.double() / temperature, dim=1).max(1)
    right = answers == labels
    if int(right.sum()) < _FEWEST:
        return None
    features, probabilities = features[right], probabilities[right]
    distances = bank.distances(features)
    found = Border(
        distance=max(float(distances.std()), _LEAST_SPREAD * float(distances.mean()), _TINY),
        doubt=max(float(probabilities.std()), _LEAST_SPREAD),
        at=0.0,
        margin=None if bank.outsiders is None else max(float(bank.outsiders.margins(features).std()), _TINY),
    )
    at = float(torch.quantile(found.sums(bank, features, probabilities), _SURE_SHARE))
    return replace(found, at=max(at, _TINY) if found.margin is None else at)


def scores_by_softmax(probabilities: Tensor, below: float) -> Tensor:
    """Score, as `Border.scores`, by the probability of the answer alone: for runs that know no distances."""
    return _share(1 - probabilities.double(), max(1 - below, _TINY))


def _share(value: Tensor, at: float) -> Tensor:
    return value / (value + at)
