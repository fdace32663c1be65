"""What a run that has learned answers by: its own last layer, or one that reads several depths, if that is better."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer import depth_head
from trainer.batches import Data
from trainer.depth_head import DepthHead
from trainer.evaluate import Precision, Score, outputs_of, score
from trainer.outside import Bank, Outsiders, sample
from trainer.watch import Watcher


@dataclass(frozen=True)
class Final:
    """A network as it will answer, and what it says of the images held out."""

    network: nn.Module
    """Itself, or the head that reads its depths, with it."""
    last_layer: Score
    """Of the images held out, by the network's own last layer."""
    logits: Tensor
    """(M, classes), of the images held out."""
    features: Tensor
    """(M, D), of these images, as the bank has them."""
    bank: Bank
    outsiders: tuple[Tensor, Tensor] | None = None
    """Outputs and features of images held out that are of none of the classes, if there are any."""

    @property
    def head(self) -> DepthHead | None:
        """What reads several depths, where the answer comes from them."""
        return self.network if isinstance(self.network, DepthHead) else None

    def tensors(self) -> dict[str, Tensor]:
        """Weights, by name."""
        return self.head.tensors() if self.head else self.network.state_dict()


def finished(network: nn.Module, data: Data, classes: int, size: int, precision: Precision, watcher: Watcher) -> Final:
    """Solve for a head that reads several depths, and take it if the images held out are better told by it."""
    logits, features = outputs_of(network, data.validation, size, precision)
    labels = data.validation_labels
    own = score(logits, labels)
    solved = depth_head.solve(network, data, classes, size, precision, watcher)
    if solved is not None:
        head, read_of, labels_of = solved
        narrow, read = outputs_of(head, data.validation, size, precision)
        wide = depth_head.spread_as(head, narrow, logits, torch.unique(data.train_labels))
        if (found := score(wide, labels)).better_than(own):
            told = f"{found.accuracy:.3f} of the images held out, {own.accuracy:.3f} by the last layer alone"
            watcher.say(f"answering by several depths: {told}")
            return Final(head, own, wide, read, *_surroundings(head, data, read_of, labels_of, size, precision))
    rows = sample(data.train_labels)
    seen = outputs_of(network, data.train[rows.numpy()], size, precision)[1]
    around = _surroundings(network, data, seen, data.train_labels[rows], size, precision)
    return Final(network, own, logits, features, *around)


def _surroundings(
    network: nn.Module, data: Data, features: Tensor, labels: Tensor, size: int, precision: Precision
) -> tuple[Bank, tuple[Tensor, Tensor] | None]:
    """Make a bank of features, (N, D), with their labels, (N,); and what is said of outsiders that are held out."""
    if not len(data.outsiders):
        return Bank.of(features), None
    theirs = outputs_of(network, data.outsiders, size, precision)[1]
    held_out = data.outsiders_held_out
    told = outputs_of(network, held_out, size, precision) if len(held_out) else None
    return Bank.of(features, Outsiders.learn(features, labels, theirs)), told
