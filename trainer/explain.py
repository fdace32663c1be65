"""Where a network looks for its answer, and for it rather than for another: Grad-CAM and Finer-CAM, by autograd alone.

Both are one question with two directions in the space of outputs. Grad-CAM (Selvaraju et al., ICCV 2017) asks which
places of the last feature map raise the output of a class: each channel is weighted by its mean gradient, the sum is
cut off below zero. Finer-CAM (Zhang et al., CVPR 2025) asks the same of the difference to the output of a similar
class, in full strength: what both classes share falls away, and what tells them apart stays.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trainer import network
from trainer.augment import to_input
from trainer.cache import Pixels
from trainer.errors import WeightsError
from trainer.maps import as_map, has_places, is_map
from trainer.predict import Answer, Predictor

Heat = NDArray[np.float32]
"""(side, side), from 0 to 1, which is this picture's hottest place; all 0 where nothing speaks for what was asked."""

_BATCH = 8
"""Pictures at once: gradients need every layer's outputs, 172 MB for a picture and its mirror image in a ResNet-50."""


@dataclass(frozen=True)
class Explanation:
    """An answer, and what speaks for a class. Maps lie over the whole picture, squeezed to the network's square."""

    answer: Answer
    towards: int
    """The class that the maps speak for: the answer, unless another was asked for."""
    against: int
    """The class that `difference` compares with."""
    evidence: Heat
    """What speaks for `towards` (Grad-CAM)."""
    difference: Heat
    """What speaks for `towards` and not for `against` (Finer-CAM)."""


def explain(
    predictor: Predictor, pixels: Pixels, against: Sequence[int | None], towards: Sequence[int] | None = None
) -> list[Explanation]:
    """Explain the answers for squares, (N, side, side, 3) bytes, each against a class, or the second most probable.

    `towards` asks for what speaks for these classes instead, whatever the answers. A class that would be explained
    against itself gives way to the most probable other. As the answer is the mean over a picture and its mirror image,
    so are the maps. Raises WeightsError for a network without any feature map.
    """
    answers = predictor.answers(pixels)
    named = [answer.label for answer in answers] if towards is None else list(towards)
    others = [
        runner_up(answer, label) if other in {None, label} else int(other or 0)
        for answer, label, other in zip(answers, named, against, strict=True)
    ]
    found = []
    for start in range(0, len(answers), _BATCH):
        part = slice(start, start + _BATCH)
        images = to_input(torch.tensor(pixels[part]).to(predictor.precision.device), predictor.size)
        directions = _directions(named[part], others[part], len(predictor.classes))
        heat = _heat(predictor.model, images, directions.to(images.device))
        for answer, label, other, maps in zip(answers[part], named[part], others[part], heat, strict=True):
            found.append(Explanation(answer, label, other, *maps))
    return found


def runner_up(answer: Answer, label: int | None = None) -> int:
    """Give the most probable class beside the answer, or beside `label`."""
    own = answer.label if label is None else label
    others = [p if one != own else -1.0 for one, p in enumerate(answer.probabilities)]
    return max(range(len(others)), key=others.__getitem__)


def _directions(labels: Sequence[int], others: Sequence[int], classes: int) -> Tensor:
    """(2, N, classes): towards each label, and from the other class to it."""
    towards = functional.one_hot(torch.tensor(labels), classes).float()
    return torch.stack([towards, towards - functional.one_hot(torch.tensor(others), classes).float()])


def _heat(model: nn.Module, images: Tensor, directions: Tensor) -> NDArray[np.float32]:
    """(N, directions, size, size) for (N, 3, size, size) images, each from 0 to 1."""
    both = torch.cat([images, images.flip(3)]).contiguous(memory_format=torch.channels_last)
    straight, mirrored = class_maps(model, both, torch.cat([directions, directions], dim=1)).chunk(2, dim=1)
    maps = ((straight + mirrored.flip(3)) / 2).relu()
    maps = functional.interpolate(maps.transpose(0, 1), images.shape[2:], mode="bilinear")
    hottest = maps.amax((2, 3), keepdim=True)
    scaled: NDArray[np.float32] = torch.where(hottest > 0, maps / hottest, 0.0).cpu().numpy()
    return scaled


def class_maps(model: nn.Module, images: Tensor, directions: Tensor) -> Tensor:
    """Weigh the last feature map of each image by what moves the outputs along each of its directions.

    For (B, 3, side, side) images and (D, B, classes) directions gives (D, B, h, w), with their signs. Raises
    WeightsError for a network without any feature map.
    """
    model.eval()
    with torch.enable_grad(), _watched(model) as watched:
        outputs = model(images).float()
        last = watched.last_map()
        found = []
        for direction in directions:
            (gradient,) = torch.autograd.grad((outputs * direction).sum(), last, retain_graph=True)
            weights = as_map(gradient).mean((2, 3), keepdim=True)
            found.append((weights * as_map(last.detach())).sum(1).float())
    return torch.stack(found)


@dataclass
class _Watched:
    """What layers gave in one pass, in the order in which they ended, and what came into the last."""

    maps: list[Tensor] = field(default_factory=list)
    head_input: Tensor | None = None

    def last_map(self) -> Tensor:
        """Give the last output that still has places and on which the answer depends.

        Behind a transformer's last attention only the class token counts, so its patches there, though outputs of a
        layer, say nothing: their gradient is exactly zero. What an answer by several depths leaves unread has none. The
        gradient asked for is that of the last layer's input, because a last layer may be new, and all zero.
        """
        for found in reversed(self.maps):
            if self._counts(found):
                return found
        raise WeightsError("this network has no layer whose outputs have places, so there is nothing to lay over them")

    def _counts(self, places: Tensor) -> bool:
        if self.head_input is None:
            return is_map(places)
        flat = self.head_input.flatten(1)
        # Neither sum nor sum of squares, both of which a layer norm makes constant.
        probe = (flat * torch.linspace(-1, 1, flat.shape[1], device=flat.device)).sum()
        found: Tensor | None = torch.autograd.grad(probe, places, retain_graph=True, allow_unused=True)[0]
        return found is not None and (is_map(places) or bool(found[:, 1:].any()))


@contextmanager
def _watched(model: nn.Module) -> Iterator[_Watched]:
    """Keep what every layer before the last gives, if it has places, while in this context."""
    watched = _Watched()
    head = {name.rpartition(".")[0] for name in network.head_names(model)}

    def keep(layer: nn.Module, _given: object, output: object) -> None:
        # Adaptive pooling brings a VGG's map to 7 x 7 even where it is smaller: places that are none.
        if watched.head_input is None and not isinstance(layer, nn.AdaptiveAvgPool2d) and has_places(output):
            watched.maps.append(output)

    def begin_head(_layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        watched.head_input = given[0]

    hooks = [layer.register_forward_hook(keep) for layer in model.modules()]
    hooks += [layer.register_forward_pre_hook(begin_head) for name, layer in model.named_modules() if name in head]
    try:
        yield watched
    finally:
        for hook in hooks:
            hook.remove()
