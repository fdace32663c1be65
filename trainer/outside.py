"""Whether an image is of none of the classes: how far what the network sees in it lies from what it learned from.

A softmax cannot say so: it shares 1 out among the classes it knows, and a guitar of no class often looks surely like
one. So two things are added, in standard deviations of the images held out: the Mahalanobis distance of the features
from the nearest class (Lee et al., NeurIPS 2018) and what the answer's probability lacks of 1 (Hendrycks and Gimpel,
ICLR 2017). `docs/decisions.md` has what was compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

SPACE_FILE = "space.safetensors"
BORDER = 0.5
"""Of all scores: what lies beyond is outside."""
_SURE_SHARE = 0.95
"""Share of the right answers that count as inside: the other twentieth is the price of finding what lies outside."""
_FEWEST = 20
_MOST_IMAGES = 1000
"""To fit a space to: with 2,000 it is no better, and an epoch is long on a large network."""
_RANK = 64
_SHRINKAGE = 0.1
"""Of the mean variance, added to each: some hundred images do not tell the small ones."""
_LEAST_SPREAD = 0.05
"""Share by which validation images count as spread at least: where all are alike, a trifle would seem far away."""
_TINY = 1e-12


def sample(labels: Tensor) -> Tensor:
    """Choose the rows of the images that a space is fitted to: every one, or so many, with each class in its share."""
    by_class = torch.argsort(labels, stable=True)
    each = max(1, -(-len(labels) // _MOST_IMAGES))
    return by_class[::each].sort().values


@dataclass(frozen=True)
class Space:
    """Where the features of the classes lie: a Gaussian around each mean, all of one shape.

    That shape is a probabilistic PCA's (Tipping and Bishop 1999): its largest axes, and one variance for all others. So
    little is to be kept, 64 + C vectors, and a thousand images are enough for 2,048 features.
    """

    means: Tensor
    """(C, D)."""
    axes: Tensor
    """(R, D), orthonormal."""
    variances: Tensor
    """(R + 1,): along each axis, and along everything else."""

    @classmethod
    def fit(cls, features: Tensor, labels: Tensor) -> "Space":
        """Fit to features, (N, D), of images that were learned from, and their labels, (N,)."""
        features = features.double()
        present = labels.unique()
        means = torch.stack([features[labels == label].mean(0) for label in present])
        centred = features - means[torch.searchsorted(present, labels)]
        _, found, axes = torch.linalg.svd(centred, full_matrices=False)
        variances = found.square() / len(features)
        rank = max(0, min(_RANK, len(features) - len(present), features.shape[1] - 1))
        rest = variances[rank:].sum() / (features.shape[1] - rank)
        shrunk = torch.cat([variances[:rank], rest[None]]) + _SHRINKAGE * variances.sum() / features.shape[1] + _TINY
        return cls(means.float(), axes[:rank].float().contiguous(), shrunk.float())

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Space":
        """Undo `tensors`."""
        return cls(tensors["means"], tensors["axes"], tensors["variances"])

    def tensors(self) -> dict[str, Tensor]:
        """Give what is to be kept, by name."""
        return {"means": self.means, "axes": self.axes, "variances": self.variances}

    def distances(self, features: Tensor) -> Tensor:
        """Mahalanobis distance of features, (N, D), from the nearest mean, (N,)."""
        features, means, axes = features.double(), self.means.double(), self.axes.double()
        mine, theirs = features @ axes.T, means @ axes.T
        scale = self.variances[:-1].double().rsqrt()
        along = _squares(mine * scale, theirs * scale)
        # What lies along no axis: Pythagoras. Rounding can take it below 0.
        beside = (_squares(features, means) - _squares(mine, theirs)).clamp(min=0) / self.variances[-1].double()
        return (along + beside).min(1).values.sqrt()


def _squares(mine: Tensor, theirs: Tensor) -> Tensor:
    return torch.cdist(mine, theirs, compute_mode="donot_use_mm_for_euclid_dist").square()


@dataclass(frozen=True)
class Border:
    """What divides inside from outside, from the images held out: plain numbers, for JSON."""

    distance: float
    """Standard deviation of the distances."""
    doubt: float
    """Standard deviation of what probabilities lack of 1."""
    at: float
    """Sum of both, in these units, that 95 % of the images answered right stay under."""

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
    return distances / distance + (1 - probabilities) / doubt


def scores_by_softmax(probabilities: Tensor, below: float) -> Tensor:
    """Score, as `Border.scores`, by the probability of the answer alone: for runs that know no distances."""
    return _share(1 - probabilities.double(), max(1 - below, _TINY))


def _share(value: Tensor, at: float) -> Tensor:
    return value / (value + at)
