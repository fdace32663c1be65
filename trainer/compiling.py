"""Whether `torch.compile` pays for a run's length, and the network compiled where it does."""

import torch

from trainer.batches import epoch_images
from trainer.options import TrainOptions
from trainer.state import Forward

_PAYS_FROM = 500_000
"""Images learned from: compiling takes a GPU a minute or so, in which it would learn from some hundred thousand."""


def compiled(network: Forward, options: TrainOptions, images: int, device: torch.device) -> Forward:
    """Compile the network if that pays for learning from `images` over all epochs, or if the options say so.

    The weights stay those of `network` itself. On the CPU, where oneDNN does the work, it pays for no length.
    """
    asked = options.compile
    long = options.epochs * epoch_images(images, options) >= _PAYS_FROM
    if asked or (asked is None and device.type == "cuda" and long):
        return torch.compile(network, dynamic=False)
    return network
