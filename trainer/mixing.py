"""Pictures of a batch mixed with one another, and their labels with them.

Mixup (Zhang et al., ICLR 2018) lays one picture over another, CutMix (Yun et al., ICCV 2019) puts a rectangle of one
into another. Both keep a network from being sure of what it has merely learned by heart.
"""

import torch
from torch import Tensor
from torch.nn import functional

from trainer.recipes import Recipe


def mix(
    images: Tensor, labels: Tensor, classes: int, recipe: Recipe, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mix each of (B, 3, H, W) images with the one before it, by the recipe's `mixup` or `cutmix`, one a batch.

    Gives the images, and (B, classes) shares of each class in them; or everything as it was, `labels` (B,) among it,
    where the recipe mixes nothing.
    """
    ways = [(name, alpha) for name, alpha in (("mixup", recipe.mixup), ("cutmix", recipe.cutmix)) if alpha > 0]
    if not ways:
        return images, labels
    name, alpha = ways[int(torch.randint(len(ways), (1,), generator=generator))]
    kept = _beta(alpha, len(images), generator)
    if name == "cutmix":
        inside, kept = _rectangles(kept, images.shape[2], images.shape[3], generator)
        inside = inside.to(images.device, non_blocking=True)
        mixed = torch.where(inside[:, None], images.roll(1, 0), images)
        share = kept.to(images.device, non_blocking=True)
    else:
        share = kept.to(images.device, non_blocking=True)
        mixed = images.roll(1, 0).lerp(images, share.view(-1, 1, 1, 1))
    targets = functional.one_hot(labels, classes).float()
    return mixed, targets.roll(1, 0).lerp(targets, share.view(-1, 1))


def _beta(alpha: float, count: int, generator: torch.Generator) -> Tensor:
    """Draw from Beta(alpha, alpha), folded to its upper half: the picture itself always counts for more."""
    gammas = torch._standard_gamma(torch.full((2, count), alpha), generator=generator)  # noqa: SLF001 - distributions take no generator
    share = gammas[0] / gammas.sum(0).clamp_min(torch.finfo(torch.float32).tiny)
    return torch.maximum(share, 1 - share)


def _rectangles(kept: Tensor, height: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw a rectangle a picture that covers 1 - kept of it, less what lies outside.

    Gives (B, height, width) booleans, true inside, and the share of each picture that lies outside its rectangle.
    """
    side = (1 - kept).sqrt()
    masks = []
    for length in (height, width):
        middle = torch.rand(len(kept), generator=generator) * length
        at = torch.arange(length) + 0.5
        masks.append((at[None] - middle[:, None]).abs() < (side * length / 2)[:, None])
    inside = masks[0][:, :, None] & masks[1][:, None, :]
    return inside, 1 - inside.float().mean((1, 2))
