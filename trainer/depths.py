"""Features from several depths of a network: details that tell similar classes apart fade towards its last layer.

Of ImageNet's SqueezeNet on photographs of ten models of guitars, a linear layer on what the last block gives, averaged,
got 0.78 right; pooled by generalised means (Radenovic, Tolias and Chum, TPAMI 2018) 0.81, and on the last five blocks
together 0.87.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from trainer.augment import to_input
from trainer.cache import Pixels
from trainer.evaluate import Precision, squares_of
from trainer.explain import as_map, has_places

_BLOCKS = 5
_POWER = 3.0
_CONTAINERS = (nn.Sequential, nn.ModuleList)


def deep_features(network: nn.Module, pixels: Pixels, size: int, precision: Precision, batch_size: int) -> Tensor:
    """Pool the last five blocks' outputs for squares of any side, (N, side, side, 3) bytes: (N, D), float32 on the CPU.

    The mean over each picture and its mirror image.
    """
    network.eval()
    found = []
    with torch.inference_mode(), precision.autocast(), _watched(network) as maps:
        for batch in squares_of(pixels, precision.device, batch_size):
            images = to_input(batch, size).contiguous(memory_format=torch.channels_last)
            network(torch.cat([images, images.flip(3)]))
            found.append(torch.cat(maps[-_BLOCKS:], dim=1).view(2, len(batch), -1).mean(0).cpu())
            maps.clear()
    return torch.cat(found)


def _pooled(output: Tensor) -> Tensor:
    """Pool a map over its places: by a generalised mean behind a ReLU, and plainly where signs mean something."""
    places = as_map(output).float().flatten(2)
    if bool((places >= 0).all()):
        return places.clamp(min=1e-6).pow(_POWER).mean(2).pow(1 / _POWER)
    return places.mean(2)


@contextmanager
def _watched(network: nn.Module) -> Iterator[list[Tensor]]:
    """Inside this context the list gets, with every batch, what each block gives, pooled."""
    found: list[Tensor] = []

    def keep(_layer: nn.Module, _given: object, output: object) -> None:
        if has_places(output):
            found.append(_pooled(output))

    hooks = [block.register_forward_hook(keep) for block in blocks(network)]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def blocks(network: nn.Module) -> list[nn.Module]:
    """The pieces that a network repeats, outermost ones; of one that repeats none, such as VGG, its single layers."""
    made = {name: layer for name, layer in network.named_modules() if name and not isinstance(layer, _CONTAINERS)}
    kinds = Counter(type(layer) for layer in made.values() if next(layer.children(), None) is not None)
    repeated = {name for name, layer in made.items() if kinds[type(layer)] > 1}
    outermost = [name for name in repeated if not any(name.startswith(f"{other}.") for other in repeated)]
    if outermost:
        return [layer for name, layer in made.items() if name in outermost]
    return [layer for layer in made.values() if next(layer.children(), None) is None]
