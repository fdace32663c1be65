"""How a network is learned through: as it is, recorded and played, or compiled."""

import torch
from torch import Tensor, nn

from trainer.evaluate import Precision
from trainer.options import TrainOptions
from trainer.recording import Recorded
from trainer.state import Forward


def learned_through(network: nn.Module, options: TrainOptions, precision: Precision, *, alone: bool = True) -> Forward:
    """Give the way through a network, whose weights stay its own, that gradients are to come from.

    Compiled where the options say so. Else on a GPU it is recorded, if this process learns `alone`; the CPU, where
    oneDNN does the work, gains by neither.
    """
    if options.compile:
        return _Compiled(network, options.recipe.batch_size)
    if precision.device.type == "cuda" and alone:
        return Recorded(network, options.recipe.batch_size, precision)
    return network


class _Compiled:
    """A compiled network; a smaller batch, such as the last one of a turn, goes through it as it is.

    It would be compiled anew for each size of a batch.
    """

    def __init__(self, network: nn.Module, batch_size: int) -> None:
        self.network = network
        self.compiled = torch.compile(network, dynamic=False)
        self.batch_size = batch_size

    def __call__(self, images: Tensor) -> Tensor:
        outputs: Tensor = (self.compiled if len(images) == self.batch_size else self.network)(images)
        return outputs
