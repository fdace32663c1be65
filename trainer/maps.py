"""What layers give that lies over the picture: feature maps, and tokens of patches."""

from math import isqrt
from typing import TypeGuard

from torch import Tensor

_NCHW, _TOKENS = 4, 3
"""Axes of a feature map, and of a sequence of tokens."""


def is_map(output: Tensor) -> bool:
    """Whether this is a map, not a sequence of tokens."""
    return output.ndim == _NCHW


def has_places(output: object) -> TypeGuard[Tensor]:
    """Whether a layer gave a map of more than one place, or a token for each of several patches."""
    if not isinstance(output, Tensor):
        return False
    if output.ndim == _NCHW:
        return output.shape[2] == output.shape[3] > 1 or output.shape[1] == output.shape[2] > 1
    patches = output.shape[1] - 1 if output.ndim == _TOKENS else 0
    return patches > 1 and isqrt(patches) ** 2 == patches


def as_map(output: Tensor) -> Tensor:
    """(B, channels, h, w) of a layer's output, whose channels may come last, or of tokens behind a class token.

    Pictures are square, and so are their maps: the two axes of equal length are those of the places.
    """
    if output.ndim == _TOKENS:
        side = isqrt(output.shape[1] - 1)
        return output[:, 1:].transpose(1, 2).reshape(len(output), -1, side, side)
    return output if output.shape[2] == output.shape[3] else output.permute(0, 3, 1, 2)
