"""Strokes, boxes and shapes as covers: for each pixel of each picture, how much of it is drawn over, 0 to 1.

Covers are (B, 1, H, W) on the device asked for, with smooth edges. What they are made from lies on the CPU, where it is
drawn by chance; lengths are in pixels, from the upper left corner of the picture.
"""

import math

import torch
from torch import Tensor


def box_cover(boxes: Tensor, height: int, width: int, device: torch.device) -> Tensor:
    """Cover of boxes, (B, 4): left, top, width, height. Its sum is their area, whatever part of a pixel they end in."""
    left, top, across, down = boxes.to(device, non_blocking=True).view(-1, 4, 1).unbind(1)
    columns = _overlap(left, across, width).view(len(boxes), 1, 1, width)
    rows = _overlap(top, down, height).view(len(boxes), 1, height, 1)
    return rows * columns


def _overlap(start: Tensor, length: Tensor, pixels: int) -> Tensor:
    at = torch.arange(pixels, device=start.device)
    return (torch.minimum(start + length, at + 1) - torch.maximum(start, at)).clamp(0, 1)


def polygon_cover(
    centres: Tensor, axes: Tensor, angles: Tensor, corners: Tensor, height: int, width: int, device: torch.device
) -> Tensor:
    """Cover of regular polygons of so many `corners`, stretched and turned; with many corners, of ellipses.

    Centres and half-axes are (B, 2), x first; angles in radians and corners are (B,).
    """
    centres, axes, angles, corners = (given.to(device, non_blocking=True) for given in (centres, axes, angles, corners))
    rows = torch.arange(height, device=device).view(1, height, 1) + 0.5 - centres[:, 1].view(-1, 1, 1)
    columns = torch.arange(width, device=device).view(1, 1, width) + 0.5 - centres[:, 0].view(-1, 1, 1)
    cos, sin = torch.cos(angles).view(-1, 1, 1), torch.sin(angles).view(-1, 1, 1)
    x = (columns * cos + rows * sin) / axes[:, 0].view(-1, 1, 1)
    y = (rows * cos - columns * sin) / axes[:, 1].view(-1, 1, 1)
    sector = (2 * math.pi / corners).view(-1, 1, 1)
    # In the sector of its side a point is as far out as its projection on the side's normal.
    turned = torch.remainder(torch.atan2(y, x), sector) - sector / 2
    inside = torch.cos(sector / 2) - torch.hypot(x, y) * torch.cos(turned)
    pixels = axes.amin(1).view(-1, 1, 1)
    return (inside * pixels + 0.5).clamp(0, 1).unsqueeze(1)


def smooth_curve(controls: Tensor, samples: int) -> Tensor:
    """Points along uniform cubic B-splines of (B, N, 2) controls: (B, (N - 3) x samples + 1, 2).

    Smooth to the second derivative, and always inside the hull of the controls.
    """
    spans = controls.shape[1] - 3
    at = torch.arange(spans * samples + 1) / samples
    span = at.floor().clamp(max=spans - 1).long()
    t = at - span
    weights = torch.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6
    basis = torch.zeros(len(at), controls.shape[1])
    for offset in range(4):
        basis[torch.arange(len(at)), span + offset] = weights[offset]
    return basis @ controls


def stroke_cover(points: Tensor, halves: Tensor, height: int, width: int, device: torch.device) -> Tensor:
    """Cover of lines through points, (B, N, 2), x first, with a round brush of half-widths (B,).

    Each piece is measured only in a window around it that holds the longest piece: a thirtieth of the work of measuring
    every pixel to every piece.
    """
    window = _window(points, halves)
    points, half = points.to(device, non_blocking=True), halves.to(device, non_blocking=True).view(-1, 1, 1, 1)
    start, along = points[:, :-1], points[:, 1:] - points[:, :-1]
    corner = (torch.minimum(start, points[:, 1:]) - half.view(-1, 1, 1) - 1).floor()
    steps = torch.arange(window, device=device)
    x = corner[..., 0].view(*corner.shape[:2], 1, 1) + steps
    y = corner[..., 1].view(*corner.shape[:2], 1, 1) + steps.view(-1, 1)
    along_x, along_y = along.view(*along.shape[:2], 1, 2).unbind(-1)
    along_x, along_y = along_x.unsqueeze(-1), along_y.unsqueeze(-1)
    off_x, off_y = x + 0.5 - start[..., 0].view_as(along_x), y + 0.5 - start[..., 1].view_as(along_y)
    share = ((off_x * along_x + off_y * along_y) / (along_x**2 + along_y**2).clamp_min(1e-6)).clamp(0, 1)
    distance = torch.hypot(off_x - share * along_x, off_y - share * along_y)
    cover = (half + 0.5 - distance).clamp(0, 1) * ((x >= 0) & (x < width) & (y >= 0) & (y < height))
    index = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).long()
    flat = torch.zeros(len(points), height * width, device=device)
    flat.scatter_reduce_(1, index.flatten(1), cover.flatten(1), "amax")
    return flat.view(-1, 1, height, width)


def _window(points: Tensor, halves: Tensor) -> int:
    longest = (points[:, 1:] - points[:, :-1]).abs().amax()
    return math.ceil(float(longest + 2 * halves.amax())) + 3
