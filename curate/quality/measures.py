"""How good a picture is as a picture, in a few numbers: taken of a copy of 256 pixels a side, whatever its size.

No network, no weights, nothing learned: each number has a plain meaning, so that a threshold on it has one too. What
they catch and what they take for worse than it is, measured, stands in `docs/decisions.md`.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curate.dedup.layout import without_frame

Gray = NDArray[np.uint8]

_SIDE = 256
_FRAME_SIDE = 128
_THUMB = 64
_STEP = 10
"""Gray values between neighbours of a thumbnail: a gradient from black to white over it has four, noise is averaged."""
_ONE_IN = 100
_NOISE = 2
_BLUR = 9
_CELL = 8
_STROKE = 9
"""Pixels: strokes of letters are thinner, and so are whole lines of a page that is too small to be read."""
_INK = 24
_SHARE_OF_INK = 0.08
_UNEVEN = 14
"""Gray values within a cell of what strokes stand on. Paper and screens have fewer, carpets and rough walls more."""
_ENOUGH_TEXT = 0.15
"""Share of the picture that lines of text cover. A black guitar with a white rim on black has strokes on less."""
_SEAM = 10
_AT_ONE_COLUMN = 7
_BESIDE = 8
_WEAK = 0.3
"""A seam that fails no threshold in any case needs no second look."""
_VARIED = 0.4
_GAP = 6
"""Pixels to either side of a seam, so that a gutter between two pictures does not count as one of them."""
_PLACES = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4)
_PAIRS = ((1, 3), (0, 4), (0, 2), (2, 4))
"""Of these places, two that seams of three or four pictures in a row lie at."""
_PLACE_REACH = 0.025
_LONE_SEAM = 0.8
_SMALLEST = 48


def measure(rgb: Image.Image, gray: Image.Image) -> dict[str, float]:
    """Measure a picture of any size, given in colour and in gray.

    side: pixels of the shorter. aspect: longer side through shorter. information: share of the picture in which
    anything is to be seen, 0-1. bright, dim: gray value, 0-255, that one pixel in a hundred is above, or below.
    sharpness: share of the contrast between neighbouring pixels that a blur takes away, 0-1. text: share of what is to
    be seen that is thin strokes on even ground, 0-1. collage: share of the height or width along which the picture
    breaks off, 0-1. inside: share of the area that lies within a frame of one colour, 0-1.
    """
    shorter, longer = sorted(rgb.size)
    small = _reduced(gray)
    top, bottom, left, right = _within_frame(rgb)
    height, width = small.shape
    rows = slice(round(top * height), round(bottom * height))
    columns = slice(round(left * width), round(right * width))
    dim, median, bright = _range(small)
    found = {
        "side": float(shorter),
        "aspect": longer / shorter,
        "information": _information(small),
        "dim": dim,
        "bright": bright,
        "sharpness": _sharpness(small[rows, columns]),
        "text": _text(small, median),
        "collage": _collage(small, rows, columns),
        "inside": (bottom - top) * (right - left),
    }
    return {name: round(value, 4) for name, value in found.items()}


def _reduced(gray: Image.Image) -> Gray:
    """Shrink to _SIDE pixels on the longer side; what is smaller stays."""
    # By a whole number first, which is fast; less than a half is then left to go, which needs no averaging.
    if (factor := max(gray.size) // _SIDE) > 1:
        gray = gray.reduce(factor)
    return _resized(np.asarray(gray), _SIDE, cv2.INTER_LINEAR)


def _resized(gray: Gray, side: int, way: int) -> Gray:
    scale = side / max(gray.shape)
    if scale >= 1:
        return gray
    size = max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale))
    return np.asarray(cv2.resize(gray, size, interpolation=way), np.uint8)


def _within_frame(rgb: Image.Image) -> tuple[float, float, float, float]:
    """Where the picture within its frame lies: top and bottom as shares of the height, left and right of the width."""
    # Every so many pixels, not their mean: a frame of one colour stays one, and this takes next to no time.
    scale = min(1.0, _FRAME_SIDE / max(rgb.size))
    size = max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale))
    small = np.asarray(rgb.resize(size, Image.Resampling.NEAREST))
    inner = without_frame(small)
    # It is a view: where it begins in memory says where it lies.
    top, rest = divmod(inner.ctypes.data - small.ctypes.data, small.strides[0])
    left, (height, width) = rest // small.strides[1], small.shape[:2]
    return top / height, (top + inner.shape[0]) / height, left / width, (left + inner.shape[1]) / width


def _information(gray: Gray) -> float:
    """Share of the pixels of a thumbnail that differ from the one to the right or below."""
    small = _resized(gray, _THUMB, cv2.INTER_AREA)
    right = _steps(small[:-1], 1)
    below = _steps(small[:, :-1], 0)
    return float((np.maximum(right, below) >= _STEP).mean()) if right.size else 0.0


def _range(gray: Gray) -> tuple[float, float, float]:
    below = np.asarray(cv2.calcHist([gray], [0], None, [256], [0, 256])).ravel().cumsum()
    low, middle, high = np.searchsorted(below, (gray.size / _ONE_IN, gray.size / 2, gray.size - gray.size / _ONE_IN))
    return float(low), float(middle), float(high)


def _sharpness(gray: Gray) -> float:
    """Blur it again and see what it loses (Crete et al., "The blur effect", 2007). Areas of one colour do not count."""
    across = _lost(gray, cv2.blur(gray, (_BLUR, 1)), 1)
    return min(across, _lost(gray, cv2.blur(gray, (1, _BLUR)), 0))


def _lost(gray: Gray, blurred: Any, axis: int) -> float:  # noqa: ANN401 - cv2 says any dtype
    before = _steps(gray, axis)
    if not before.size:
        return 0.0
    before = np.asarray(cv2.threshold(before, _NOISE - 1, 0, cv2.THRESH_TOZERO)[1], np.uint8)
    lost = cv2.subtract(before, _steps(np.asarray(blurred), axis))
    return _sum(lost) / max(_sum(before), 1.0)


def _sum(gray: Any) -> float:  # noqa: ANN401 - cv2 says any dtype
    """Sum as numpy does, in a quarter of its time."""
    return float(cv2.sumElems(gray)[0])  # type: ignore[index]  # always one a channel


def _steps(gray: Gray, axis: int) -> Gray:
    one, next_ = (gray[:, 1:], gray[:, :-1]) if axis else (gray[1:], gray[:-1])
    return np.asarray(cv2.absdiff(one, next_), np.uint8) if one.size else np.empty(one.shape, np.uint8)


def _text(gray: Gray, median: float) -> float:
    """Take thin strokes away and see where that leaves even ground, and where a body or an edge."""
    if min(gray.shape) < _SMALLEST:
        return 0.0
    # There is more ground than ink, so the mean lies to the ink's side of the median: it tells dark from light.
    without = cv2.MORPH_CLOSE if _sum(gray) / gray.size <= median else cv2.MORPH_OPEN
    ground = np.asarray(cv2.morphologyEx(gray, without, _square(_STROKE)), np.uint8)
    ink = cv2.threshold(cv2.absdiff(gray, ground), _INK, 255, cv2.THRESH_BINARY)[1]
    covered = _cells(cv2.blur(ink, (_CELL, _CELL)), _CELL) > 255 * _SHARE_OF_INK
    height, width = (length // _CELL * _CELL for length in gray.shape)
    coarse = np.ascontiguousarray(ground[:height:2, :width:2])  # what is left of it is smooth
    square = _square(_CELL // 2)
    uneven = _cells(cv2.subtract(cv2.dilate(coarse, square), cv2.erode(coarse, square)), _CELL // 2) > _UNEVEN
    lines = covered & ~uneven
    share = float(lines.sum() / max(1, (lines | uneven).sum()))
    return share * min(1.0, float(lines.mean()) / _ENOUGH_TEXT)


def _square(side: int) -> Gray:
    return np.ones((side, side), np.uint8)


def _cells(around: Any, side: int) -> NDArray[Any]:  # noqa: ANN401 - cv2 says any dtype
    """Of values for the square around every pixel, take those of whole squares that lie side by side."""
    rows, columns = (length // side * side for length in around.shape)
    cells: NDArray[Any] = around[side // 2 : rows : side, side // 2 : columns : side]
    return cells


def _collage(gray: Gray, rows: slice, columns: slice) -> float:
    """Look for straight seams where a few pictures of one size would meet.

    Two of them count in full, as in a grid of four or a row of three; one alone also occurs in a single photograph.
    """
    inside = gray[rows, columns]
    if min(inside.shape) < _SMALLEST:
        return 0.0
    across = _seams(inside, columns.start, gray.shape[1])
    down = _seams(np.asarray(cv2.transpose(inside), np.uint8), rows.start, gray.shape[0])
    pairs = [min(seams[a], seams[b]) for seams in (across, down) for a, b in _PAIRS]
    return max(*pairs, min(max(across), max(down)), _LONE_SEAM * max(across + down), 0.0)


def _seams(gray: Gray, start: int, length: int) -> list[float]:
    """Share of rows that break off at one and the same column, for each of _PLACES.

    `gray` begins at column `start` of a picture of `length` columns. Textures break off everywhere: what does so beside
    the seam is taken away. Edges of things are seldom upright to the pixel.
    """
    jump = cv2.absdiff(gray[:, 2:], gray[:, :-2])  # over two: shrinking blurs a seam
    jump = cv2.threshold(jump, _SEAM, 0, cv2.THRESH_TOZERO)[1]
    strongest = np.maximum(cv2.dilate(jump, np.ones((1, _AT_ONE_COLUMN), np.uint8)), 1)
    here = cv2.compare(cv2.dilate(jump, np.ones((1, 3), np.uint8)), strongest, cv2.CMP_GE)
    shares = np.asarray(cv2.reduce(here, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F)) / 255
    padded = np.asarray(cv2.copyMakeBorder(shares, 0, 0, _BESIDE, _BESIDE, cv2.BORDER_REPLICATE)).ravel()
    share = shares.ravel() - (padded[: -2 * _BESIDE] + padded[2 * _BESIDE :]) / 2
    reach = _PLACE_REACH * length
    found = []
    for place in _PLACES:
        middle = place * length - start - 1.5
        first, last = max(0, round(middle - reach)), min(len(share), round(middle + reach) + 1)
        best = first + int(share[first:last].argmax()) if first < last else -1
        score = float(share[best]) if best >= 0 else 0.0
        found.append(score if score < _WEAK or _is_varied(gray, best + 1) else 0.0)
    return found


def _is_varied(gray: Gray, seam: int) -> bool:
    """Whether both sides differ now by this, now by that: along a wall or a plank it is the same all the way."""
    left, right = max(0, seam - _GAP), min(gray.shape[1] - 1, seam + _GAP)
    step = gray[:, right].astype(np.int16) - gray[:, left]
    return bool(step.std() > _VARIED * (np.abs(step).mean() + 1))
