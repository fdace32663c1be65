"""Features from several depths of a network: details that tell similar classes apart fade towards its last layer.

Of ImageNet's SqueezeNet on photographs of ten models of guitars, a linear layer on what the last block gives, averaged,
got 0.78 right; pooled by generalised means (Radenovic, Tolias and Chum, TPAMI 2018) 0.81, and on the last five blocks
together 0.87.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainer.augment import to_input
from trainer.cache import Pixels
from trainer.evaluate import Precision, in_batches
from trainer.maps import as_map, has_places
from trainer.watch import SILENT, Watcher

_BLOCKS = 5
_POWER = 3.0
_LOOKED_AT = 2
"""Pictures: what may be negative is so somewhere."""
_CONTAINERS = (nn.Sequential, nn.ModuleList)


@dataclass(frozen=True)
class Depths:
    """Which maps of a network are read: plain values, for JSON."""

    skipped: int
    """Maps before the first that is."""
    raised: tuple[bool, ...]
    """Of each, whether it has no negative values, as behind a ReLU: then it is pooled by a generalised mean."""
    features: int
    """How many are read of all together."""

    @classmethod
    def of(cls, network: nn.Module, images: Tensor) -> "Depths":
        """Choose the last five blocks, by what they give for images, (B, 3, size, size)."""
        found: list[tuple[bool, int]] = []
        with _every_map(network, lambda places: found.append((bool((places >= 0).all()), places.shape[1]))):
            network(images)
        skipped = max(0, len(found) - _BLOCKS)
        read = found[skipped:]
        return cls(skipped, tuple(raised for raised, _ in read), sum(channels for _, channels in read))

    def read(self, network: nn.Module, images: Tensor) -> Tensor:
        """Give what the network's blocks give for images, (B, 3, size, size), pooled: (B, D), float32."""
        found: list[Tensor | None] = []

        def keep(places: Tensor) -> None:
            at = len(found) - self.skipped
            found.append(_pooled(places, raised=self.raised[at]) if at >= 0 else None)

        with _every_map(network, keep):
            network(images)
        return torch.cat([one for one in found if one is not None], dim=1)


def _pooled(places: Tensor, *, raised: bool) -> Tensor:
    places = places.float()
    return places.clamp(min=1e-6).pow(_POWER).mean((2, 3)).pow(1 / _POWER) if raised else places.mean((2, 3))


@contextmanager
def _every_map(network: nn.Module, then: Callable[[Tensor], None]) -> Iterator[None]:
    """Inside this context call `then` with what each block gives that has places, (B, channels, h, w)."""

    def keep(_layer: nn.Module, _given: object, output: object) -> None:
        if has_places(output):
            then(as_map(output))

    hooks = [block.register_forward_hook(keep) for block in blocks(network)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def depths_of(network: nn.Module, pixels: Pixels, size: int, precision: Precision) -> Depths:
    """Choose what to read by the first few of some squares, (N, side, side, 3) bytes."""
    network.eval()
    with torch.inference_mode(), precision.autocast():

        def look(batch: Tensor) -> Depths:
            return Depths.of(network, to_input(batch, size).contiguous(memory_format=torch.channels_last))

        return next(in_batches(look, pixels[:_LOOKED_AT], precision.device))


def deep_features(
    network: nn.Module,
    pixels: Pixels,
    size: int,
    precision: Precision,
    batch_size: int | None = None,
    depths: Depths | None = None,
    watcher: Watcher = SILENT,
) -> Tensor:
    """Pool the last five blocks' outputs for squares of any side, (N, side, side, 3) bytes: (N, D), float32 on the CPU.

    The mean over each picture and its mirror image.
    """
    depths = depths or depths_of(network, pixels, size, precision)
    network.eval()

    def read(batch: Tensor) -> Tensor:
        images = to_input(batch, size).contiguous(memory_format=torch.channels_last)
        both = depths.read(network, torch.cat([images, images.flip(3)]))
        return both.view(2, len(batch), -1).mean(0).cpu()

    found = []
    with torch.inference_mode(), precision.autocast():
        for some in in_batches(read, pixels, precision.device, batch_size):
            found.append(some)
            watcher.advance(len(some))
    return torch.cat(found)


def blocks(network: nn.Module) -> list[nn.Module]:
    """The pieces that a network repeats, outermost ones; of one that repeats none, such as VGG, its single layers."""
    made = {name: layer for name, layer in network.named_modules() if name and not isinstance(layer, _CONTAINERS)}
    kinds = Counter(type(layer) for layer in made.values() if next(layer.children(), None) is not None)
    repeated = {name for name, layer in made.items() if kinds[type(layer)] > 1}
    outermost = [name for name in repeated if not any(name.startswith(f"{other}.") for other in repeated)]
    if outermost:
        return [layer for name, layer in made.items() if name in outermost]
    return [layer for layer in made.values() if next(layer.children(), None) is None]
