"""Pictures varied in batch, on the device that trains: one affine sampling, light and colour, what is drawn over them.

Every number is drawn from a generator on the CPU, so that a run can be repeated, and resumed, on any device.
"""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from trainer.corrupt import spoil
from trainer.recipes import Recipe

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Of ImageNet, per channel: what every torchvision network was trained on."""
_GRAY = (0.299, 0.587, 0.114)


def to_input(pixels: Tensor, size: int) -> Tensor:
    """Turn (B, H, W, 3) bytes into the network's input, (B, 3, size, size), normalised. No variation."""
    images = _as_float(pixels)
    if images.shape[-1] != size:
        images = functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
    return normalise(images)


def vary(pixels: Tensor, size: int, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Turn (B, H, W, 3) bytes into varied input, (B, 3, size, size), normalised."""
    images = _as_float(pixels)
    affine = draw_affine(len(images), recipe, generator).to(images.device, non_blocking=True)
    grid = functional.affine_grid(affine, [len(images), 3, size, size], align_corners=False)
    # The border goes on outside: catalogue pictures then stay on their white page.
    images = functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    light = draw_light(len(images), recipe, generator).to(images.device, non_blocking=True)
    return normalise(spoil(change_light(images, light), recipe.spoil, generator))


def _as_float(pixels: Tensor) -> Tensor:
    return pixels.permute(0, 3, 1, 2).float().div_(255)


def normalise(images: Tensor) -> Tensor:
    """Shift and scale channels from 0-1 to what ImageNet networks expect."""
    return (images - _channels(MEAN, images.device)).div_(_channels(STD, images.device))


@cache
def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Numbers of a channel each, (1, 3, 1, 1), sent to a device once: the host would wait for it every time."""
    with torch.inference_mode(mode=False):
        return torch.tensor(values, device=device).view(1, 3, 1, 1)


def _uniform(count: int, spread: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(count, generator=generator) * 2 - 1) * spread


def _signs(count: int, wanted: bool, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(count, generator=generator)
    return torch.where((drawn < 0.5) & wanted, -1.0, 1.0)  # noqa: PLR2004 - a fair coin


def draw_affine(count: int, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Draw (count, 2, 3) maps from where a pixel goes to where it comes from, in coordinates from -1 to 1."""
    angle = _uniform(count, math.radians(recipe.rotation), generator)
    scale = torch.exp(_uniform(count, math.log1p(recipe.zoom), generator))
    stretch = torch.exp(_uniform(count, math.log1p(recipe.stretch) / 2, generator))
    across = scale * stretch * _signs(count, recipe.mirror, generator)
    down = scale / stretch * _signs(count, recipe.flip, generator)
    shift_x, shift_y = (_uniform(count, 2 * recipe.shift, generator) for _ in range(2))
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = [cos * across, -sin * down, shift_x, sin * across, cos * down, shift_y]
    return torch.stack(rows, dim=1).view(count, 2, 3)


def draw_light(count: int, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Draw (3, count) factors for brightness, contrast and saturation; 1 changes nothing."""
    spreads = (recipe.brightness, recipe.contrast, recipe.saturation)
    return torch.stack([1 + _uniform(count, spread, generator) for spread in spreads])


def change_light(images: Tensor, factors: Tensor) -> Tensor:
    """Apply brightness, contrast and saturation factors, (3, B), to (B, 3, H, W) images in 0-1."""
    brightness, contrast, saturation = factors.view(3, -1, 1, 1, 1)
    red, green, blue = (images[:, channel : channel + 1] for channel in range(3))
    gray = _GRAY[0] * red + _GRAY[1] * green + _GRAY[2] * blue
    middle = gray.mean((1, 2, 3), keepdim=True)
    # ((gray + (images - gray) x saturation - middle) x contrast + middle) x brightness, in as few passes as it takes.
    every = contrast * brightness
    shade = gray * ((1 - saturation) * every) + middle * ((1 - contrast) * brightness)
    lit: Tensor = images * (saturation * every)
    return lit.add_(shade).clamp_(0, 1)
