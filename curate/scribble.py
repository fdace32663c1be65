"""The article's experiment: a scribble over a picture, which a person hardly minds and a network may."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_STROKES = (2, 4)
_TURNS = 5
"""Points that a stroke is led through."""
_WIDTH = 0.025
"""Of a stroke, as a share of the picture's shorter side."""
_STEPS = 24
"""Straight pieces between two points: none is long enough to be seen."""


def scribbled(image: Image.Image, seed: int) -> Image.Image:
    """Draw a few strokes over an RGB picture, as a felt pen would; `image` stays as it is.

    The same seed draws the same strokes, whatever the picture's size, in bright colours of their own.
    """
    rng = np.random.default_rng(seed)
    drawn = image.copy()
    draw = ImageDraw.Draw(drawn)
    width = max(2, round(_WIDTH * min(image.size)))
    for _ in range(rng.integers(_STROKES[0], _STROKES[1] + 1)):
        colour = tuple(int(part) for part in rng.permutation([0, int(rng.integers(0, 256)), 230]))
        line = [(float(x), float(y)) for x, y in _stroke(rng) * image.size]
        draw.line(line, fill=colour, width=width, joint="curve")
        for x, y in (line[0], line[-1]):
            draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=colour)
    return drawn


def _stroke(rng: np.random.Generator) -> NDArray[np.float64]:
    """(points, 2), in shares of the picture's sides: a Catmull-Rom curve through points that wander across it."""
    start = rng.uniform(0.1, 0.9, 2)
    points = [start]
    for _ in range(_TURNS - 1):
        points.append(np.clip(points[-1] + rng.uniform(-0.5, 0.5, 2), 0.03, 0.97))
    ends = np.array([points[0], *points, points[-1]])
    along = np.linspace(0, 1, _STEPS, endpoint=False)[:, None]
    pieces = []
    for before, a, b, after in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        pieces.append(
            a
            + 0.5
            * along
            * (b - before + along * (2 * before - 5 * a + 4 * b - after + along * (3 * (a - b) + after - before)))
        )
    return np.concatenate([*pieces, points[-1][None]])
