"""Pictures spoilt on purpose: to measure how much of it a network bears, and to teach it to bear more.

The measure follows ImageNet-C (Hendrycks and Dietterich, ICLR 2019): each corruption at five strengths, from mild to
hard, here in units that can be read. Pictures are (B, 3, H, W) floats in 0-1 on any device, and come back as new ones;
every number is drawn from a generator on the CPU, so that all devices spoil alike.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from trainer.draw import box_cover, polygon_cover, smooth_curve, stroke_cover


@dataclass(frozen=True, slots=True)
class Corruption:
    """One way to spoil pictures."""

    apply: Callable[[Tensor, float, torch.Generator], Tensor]
    """Pictures, a strength and the source of chance to pictures."""
    strengths: tuple[float, ...]
    """From mild to hard."""
    unit: str
    """What a strength counts."""


_CONTROLS = 8
_SAMPLES = 8
"""Points of a stroke for each span between two of its control points."""
_REACH = (0.4, 1.0)
_WIDTH = (0.015, 0.05)
"""Of a stroke, as shares of the side: 3 to 11 pixels of 224."""
_STROKES = 8
"""In training, at most; half of the hardest measure."""
_AREA = (0.03, 0.3)
"""Of a shape or an erased patch, as shares of the picture."""
_CORNERS = torch.tensor([3, 4, 5, 64])
"""Of shapes; the last looks like an ellipse."""


def scribble(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Draw `strength` smooth strokes over each picture, each of one random colour and width."""
    count, _, height, width = images.shape
    for _ in range(round(strength)):
        reach = _between(_REACH, (count, 1, 1), generator)
        corner = torch.rand(count, 1, 2, generator=generator) * (1 - reach)
        controls = corner + reach * torch.rand(count, _CONTROLS, 2, generator=generator)
        points = smooth_curve(controls * torch.tensor([width, height]), _SAMPLES)
        halves = _between(_WIDTH, (count,), generator) * max(height, width) / 2
        images = _paint(images, stroke_cover(points, halves, height, width, images.device), generator)
    return images


def occlusion(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Hide that share of each picture behind four patches, each of one random colour.

    The picture is parted in four near its middle, and of each part the same share hidden: so the patches are scattered,
    and hide as much of every picture.
    """
    cuts = 0.35 + 0.3 * torch.rand(len(images), 2, generator=generator)
    for part in torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]):
        start, span = part * cuts, torch.where(part == 1, 1 - cuts, cuts)
        # Sides of share**u and share**(1 - u) hide that share of the part, whatever u.
        u = 0.25 + 0.5 * torch.rand(len(images), 1, generator=generator)
        sides = span * strength ** torch.cat([u, 1 - u], dim=1)
        start = start + torch.rand(len(images), 2, generator=generator) * (span - sides)
        images = _paint(images, _boxes(torch.cat([start, sides], dim=1), images), generator)
    return images


def noise(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise of that standard deviation to every channel of every pixel."""
    drawn = torch.randn(images.shape, generator=generator).to(images.device, non_blocking=True)
    return (images + strength * drawn).clamp(0, 1)


def blur(images: Tensor, strength: float, _generator: torch.Generator) -> Tensor:
    """Blur with a Gaussian whose standard deviation is that share of the picture's side."""
    # Along rows, then along columns: torchvision's blur weighs the whole square, at the hardest strength 20 times more.
    for _ in range(2):
        sigma = strength * images.shape[-1]
        radius = math.ceil(3 * sigma)
        kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=images.device) / sigma) ** 2)
        padded = functional.pad(images, (radius, radius, 0, 0), mode="replicate")
        weights = (kernel / kernel.sum()).view(1, 1, 1, -1).expand(3, 1, 1, -1)
        images = functional.conv2d(padded, weights, groups=3).transpose(2, 3)
    return images.clamp(0, 1)


def jpeg(images: Tensor, strength: float, _generator: torch.Generator) -> Tensor:
    """Save as a JPEG of that quality, and read it back."""
    pixels = (images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    found = torch.from_numpy(np.stack([_through_jpeg(picture, round(strength)) for picture in pixels]))
    return found.to(images.device, non_blocking=True).permute(0, 3, 1, 2).to(images.dtype) / 255


def _through_jpeg(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.asarray(image)


def brightness(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Make each picture brighter or darker, by the toss of a coin: its values times that factor, or divided by it."""
    factors = float(strength) ** _signs(len(images), generator).to(images.device, non_blocking=True)
    return (images * factors.view(-1, 1, 1, 1)).clamp(0, 1)


def rotation(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Turn by that many degrees, to the left or to the right; as in training, the border goes on outside."""
    angles = torch.deg2rad(strength * _signs(len(images), generator))
    cos, sin, zero = torch.cos(angles), torch.sin(angles), torch.zeros_like(angles)
    affine = torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3).to(images.device, non_blocking=True)
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


CORRUPTIONS = {
    "scribble": Corruption(scribble, (1, 2, 4, 8, 16), "strokes"),
    "occlusion": Corruption(occlusion, (0.1, 0.2, 0.3, 0.4, 0.5), "share hidden"),
    "noise": Corruption(noise, (0.08, 0.12, 0.18, 0.26, 0.38), "standard deviation, of white"),
    "blur": Corruption(blur, (0.005, 0.01, 0.015, 0.02, 0.03), "standard deviation, of the side"),
    "jpeg": Corruption(jpeg, (40, 25, 15, 10, 5), "quality"),
    "brightness": Corruption(brightness, (1.25, 1.5, 2, 3, 4), "times brighter or darker"),
    "rotation": Corruption(rotation, (10, 20, 30, 45, 90), "degrees"),
}
"""By name. The strengths of noise are those of ImageNet-C."""


def spoil(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Spoil about that share of the pictures, for training; draws nothing for a share of 0.

    Each of these gets a scribble, a filled shape or an erased patch. This is our reading of the experiment that the
    article announces in its last lines; it resembles Cutout (DeVries and Taylor, 2017) and Random Erasing (Zhong et
    al., AAAI 2020). At a share of 0.5 it costs 3 % of a training step: 55 ms of 1.85 s, SqueezeNet at 160 pixels, batch
    of 32, on one busy core.
    """
    if share == 0:
        return images
    chosen = torch.rand(len(images), generator=generator) < share
    kinds = torch.randint(len(_SPOILS), (len(images),), generator=generator)
    images = images.clone()
    for kind, draw in enumerate(_SPOILS):
        rows = (chosen & (kinds == kind)).nonzero().flatten().to(images.device, non_blocking=True)
        if len(rows):
            images[rows] = draw(images[rows], generator)
    return images


def _scribble_some(images: Tensor, generator: torch.Generator) -> Tensor:
    return scribble(images, float(torch.randint(1, _STROKES + 1, (), generator=generator)), generator)


def _shape(images: Tensor, generator: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    side = torch.tensor([width, height])
    sizes = _sizes(count, generator) * side / math.sqrt(math.pi)
    centres = torch.rand(count, 2, generator=generator) * side
    angles = torch.rand(count, generator=generator) * math.tau
    corners = _CORNERS[torch.randint(len(_CORNERS), (count,), generator=generator)]
    cover = polygon_cover(centres, sizes, angles, corners, height, width, images.device)
    return _paint(images, cover, generator)


def _erase(images: Tensor, generator: torch.Generator) -> Tensor:
    """Erase a patch: to gray, or by the toss of a coin to coloured noise."""
    sizes = _sizes(len(images), generator).clamp(max=1)
    start = torch.rand(len(images), 2, generator=generator) * (1 - sizes)
    fill = torch.rand(images.shape, generator=generator)
    plain = torch.rand(len(images), generator=generator) < 0.5  # noqa: PLR2004 - a fair coin
    fill[plain] = 0.5
    cover = _boxes(torch.cat([start, sizes], dim=1), images)
    return torch.lerp(images, fill.to(images.device, non_blocking=True), cover)


_SPOILS = (_scribble_some, _shape, _erase)


def _sizes(count: int, generator: torch.Generator) -> Tensor:
    """Widths and heights, (count, 2), as shares of the side, of an area in `_AREA` and up to twice as long as wide."""
    area = _between(_AREA, (count, 1), generator)
    stretch = torch.exp((torch.rand(count, 1, generator=generator) - 0.5) * math.log(2))
    return area.sqrt() * torch.cat([stretch, 1 / stretch], dim=1)


def _boxes(shares: Tensor, images: Tensor) -> Tensor:
    height, width = images.shape[2:]
    return box_cover(shares * torch.tensor([width, height, width, height]), height, width, images.device)


def _paint(images: Tensor, cover: Tensor, generator: torch.Generator) -> Tensor:
    """Lay one random colour a picture over it where it is covered."""
    colours = torch.rand(len(images), 3, 1, 1, generator=generator).to(images.device, non_blocking=True)
    return torch.lerp(images, colours, cover)


def _between(limits: tuple[float, float], shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    low, high = limits
    return low + (high - low) * torch.rand(shape, generator=generator)


def _signs(count: int, generator: torch.Generator) -> Tensor:
    return torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)  # noqa: PLR2004 - a fair coin
