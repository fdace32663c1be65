"""A last layer that reads the network at five depths at once, solved for in one go when the network has learned.

What tells two models of guitar apart is often small, and gone by the last layer. A linear layer on features of many
depths gets it back (Head2Toe; Evci, Dumoulin, Larochelle and Mozer, ICML 2022, who train it on a network that stays as
it is); here it is a linear discriminant, which has a solution in closed form, on a network that was fine-tuned before.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainer.batches import Data
from trainer.cache import Pixels
from trainer.depths import Depths, deep_features, depths_of
from trainer.discriminant import FARTHEST, Discriminant
from trainer.evaluate import Precision, pooled
from trainer.outside import sample
from trainer.watch import Watcher
from trainer.weights import put

_MOST_NUMBERS = 32_000_000
"""Features of all images that are solved for together: a quarter of a gigabyte in double precision, three times."""
_OWN = "depths."
"""How the names of its own weights begin, beside the network's in one file."""


class DepthHead(nn.Module):
    """A network that answers by a linear layer on what its blocks give, each feature with mean 0 and spread 1."""

    mean: Tensor
    spread: Tensor

    def __init__(self, network: nn.Module, depths: Depths, classes: int) -> None:
        super().__init__()
        self.network = network
        self.depths = depths
        self.register_buffer("mean", torch.zeros(depths.features))
        self.register_buffer("spread", torch.ones(depths.features))
        self.answer = nn.Linear(depths.features, classes)  # the last of all layers: others find it by that

    def forward(self, images: Tensor) -> Tensor:
        """Give the raw outputs, (B, classes), for images, (B, 3, size, size)."""
        return self.read(self.depths.read(self.network, images))

    def read(self, features: Tensor) -> Tensor:
        """Give the raw outputs, (B, classes), for what was read, (B, D). In full precision: small differences count."""
        if torch.is_autocast_enabled(features.device.type):
            with torch.autocast(features.device.type, enabled=False):
                return self.read(features)
        outputs: Tensor = self.answer(self.scaled(features))
        return outputs

    def scaled(self, features: Tensor) -> Tensor:
        """Bring what was read, (B, D), to mean 0 and spread 1, as the discriminant does."""
        return ((features.float() - self.mean) / self.spread).clamp(-FARTHEST, FARTHEST)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON, from which `blank` makes one without its weights."""
        return asdict(self.depths)

    @classmethod
    def blank(cls, network: nn.Module, classes: int, values: Mapping[str, Any]) -> "DepthHead":
        """Undo `as_dict`."""
        return cls(network, Depths(**{**values, "raised": tuple(values["raised"])}), classes)

    def tensors(self) -> dict[str, Tensor]:
        """Give the network's weights by their own names, and beside them those of the head."""
        return {
            name.removeprefix("network.") if name.startswith("network.") else _OWN + name: tensor
            for name, tensor in self.state_dict().items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Undo `tensors`. Raises RuntimeError where they are another network's."""
        put(self, {_full(name): tensor for name, tensor in tensors.items()})


def _full(name: str) -> str:
    return name.removeprefix(_OWN) if name.startswith(_OWN) else f"network.{name}"


def solve(
    network: nn.Module, data: Data, classes: int, size: int, precision: Precision, watcher: Watcher
) -> tuple[DepthHead, Tensor, Tensor] | None:
    """Solve for a head on the train side; gives it, and of images for a bank their features, (N, D), and labels, (N,).

    None for a network without maps, or with maps that are no numbers.
    """
    depths = depths_of(network, data.train, size, precision)
    if not depths.raised:
        return None
    rows = sample(data.train_labels, max(1, _MOST_NUMBERS // depths.features))
    watcher.begin("reading depths", len(rows))
    features = deep_features(network, _taken(data.train, rows), size, precision, depths=depths, watcher=watcher)
    if not bool(features.isfinite().all()):
        return None
    head = DepthHead(network, depths, classes).to(precision.device)
    _learn(head, features, data.train_labels[rows])
    kept = sample(data.train_labels[rows])
    return head, pooled(head.scaled(features[kept].to(precision.device))).cpu(), data.train_labels[rows[kept]]


def _learn(head: DepthHead, features: Tensor, labels: Tensor) -> None:
    """Solve for the classes that have images; one that has none, as in early rounds, is never answered.

    Zero weights give it the same output everywhere: the lowest of all that others have here. That is below the best of
    any image, for the weights of all images together are zero, too; and no farther, so that its logarithm is a number.
    """
    known, counted = torch.unique(labels, return_inverse=True)
    solved = Discriminant().learn(features.numpy(), counted.numpy())
    weights = np.zeros((len(head.answer.bias), features.shape[1]))
    bias = np.full(len(weights), solved.outputs(features.numpy()).min())
    weights[known], bias[known] = solved.weights.T, solved.bias
    with torch.no_grad():
        for tensor, values in (
            (head.mean, solved.mean),
            (head.spread, solved.spread),
            (head.answer.weight, weights),
            (head.answer.bias, bias),
        ):
            tensor.copy_(torch.from_numpy(np.ascontiguousarray(values, np.float32)))


def _taken(pixels: Pixels, rows: Tensor) -> Pixels:
    """These rows, without a copy where they are all."""
    return pixels if len(rows) == len(pixels) else pixels[rows.numpy()]


def spread_as(head: DepthHead, own: Tensor, others: Tensor, known: Tensor) -> Tensor:
    """Let the head's outputs, `own`, (N, classes), spread as widely over the `known` as `others` do; gives them so.

    A discriminant's are wider than a softmax's by far, and temperatures are held to lie near 1.
    """
    ratio = _spread(others[:, known]) / max(_spread(own[:, known]), 1e-12)
    with torch.no_grad():
        head.answer.weight.mul_(ratio)
        head.answer.bias.mul_(ratio)
    return own * ratio


def _spread(outputs: Tensor) -> float:
    return float((outputs - outputs.mean(1, keepdim=True)).double().std())
