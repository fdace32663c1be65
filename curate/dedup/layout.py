"""A picture's layout: where its edges run and how its shades lie, as one short vector. Copies lie near each other.

Histograms of oriented gradients (Dalal and Triggs, "Histograms of oriented gradients for human detection", CVPR 2005)
over a grid of soft cells, of the whole picture and of the picture without its frame, and a small gray picture, which a
watermark hardly changes; each summed with its mirror image. No network and no weights.
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.dedup.picture import Rgb

Vector = NDArray[np.int8]

NAME = "hog8 gray16"
_SIDE = 64
_CELLS = 8
_BINS = 8
_SHADES = 16
PARTS = (_CELLS * _CELLS * _BINS, _CELLS * _CELLS * _BINS, _SHADES * _SHADES // 2)
"""Bytes of each part of a layout: every value is a signed byte, and parts are compared one by one."""
_FRAME_TOLERANCE = 12
_FRAME_SHARE = 0.01
_SMALLEST_INSIDE = 16


def layout(picture: Rgb) -> Vector:
    """Describe a picture, shape (height, width, 3), by a vector of shape (sum(PARTS),)."""
    return np.concatenate([_edges(picture), _edges(without_frame(picture)), _shades(picture)])


def without_frame(picture: Rgb) -> Rgb:
    """Cut off a margin of one colour on each side; again, for a frame within a frame. A view, nothing is copied."""
    for _ in range(3):
        as_rim = np.asarray(cv2.inRange(picture, *_rim_colours(picture)), np.uint8)
        rows = np.flatnonzero(_share_outside(as_rim, 1) > _FRAME_SHARE)
        columns = np.flatnonzero(_share_outside(as_rim, 0) > _FRAME_SHARE)
        if min(len(rows), len(columns)) < _SMALLEST_INSIDE:
            return picture
        inside = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        if inside.shape == picture.shape:
            return picture
        # Where a frame ends, a shrunk picture has a line of both colours: it would pass for the next edge.
        picture = inside[1:-1, 1:-1]
    return picture


def _rim_colours(picture: Rgb) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the least and the most, by channel, of what passes for the median colour of a picture's rim."""
    rim = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    half = len(rim) // 2  # there is an even number of them
    middle = np.partition(rim, [half - 1, half], axis=0)[half - 1 : half + 1].sum(axis=0) // 2
    return middle - float(_FRAME_TOLERANCE), middle + float(_FRAME_TOLERANCE)


def _share_outside(mask: NDArray[np.uint8], axis: int) -> NDArray[np.float64]:
    """Along an axis, the share of a mask that is 0, where it is 255 elsewhere."""
    length = mask.shape[axis]
    within = np.asarray(cv2.reduce(mask, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S)).ravel() // 255
    share: NDArray[np.float64] = (length - within) / length
    return share


def _gray(picture: Rgb) -> NDArray[np.float32]:
    small = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _edges(picture: Rgb) -> Vector:
    gray = _gray(picture)
    return as_bytes(_gradients(gray) + _gradients(np.ascontiguousarray(gray[:, ::-1])))


def _shades(picture: Rgb) -> Vector:
    soft = cv2.GaussianBlur(_gray(picture), (0, 0), 1.5)
    small = cv2.resize(soft, (_SHADES, _SHADES), interpolation=cv2.INTER_AREA)
    centred = small - small.mean()
    # The root lets faint shades count beside strong ones.
    shades = np.sign(centred) * np.sqrt(np.abs(centred))
    return as_bytes((shades + shades[:, ::-1])[:, : _SHADES // 2].ravel())


def as_bytes(vector: NDArray[np.float32]) -> Vector:
    """Scale vectors, along the last axis, to signed bytes."""
    most = np.abs(vector).max(axis=-1, keepdims=True)
    scaled: Vector = np.rint(vector * (127 / np.maximum(most, 1e-6))).astype(np.int8)
    return scaled


def _gradients(gray: NDArray[np.float32]) -> NDArray[np.float32]:
    gray = cv2.GaussianBlur(gray, (0, 0), 1.0)  # type: ignore[assignment]  # cv2 says any dtype
    along, down = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    angle = np.arctan2(down, along) * (_BINS / (2 * np.pi))
    # Each gradient votes for the two directions it lies between, in proportion.
    away = np.abs((angle[..., None] - np.arange(_BINS) + _BINS / 2) % _BINS - _BINS / 2)
    votes = np.hypot(along, down)[..., None] * np.maximum(0, 1 - away)
    fine = cv2.resize(votes, (2 * _CELLS, 2 * _CELLS), interpolation=cv2.INTER_AREA)
    cells = cv2.resize(cv2.GaussianBlur(fine, (0, 0), 1.0), (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    vector = np.sqrt(np.maximum(cells, 0)).ravel()
    found: NDArray[np.float32] = vector / max(float(np.linalg.norm(vector)), 1e-6)
    return found


def units(vectors: Vector, parts: Sequence[int]) -> list[NDArray[np.float32]]:
    """Turn vectors, shape (n, sum(parts)), into unit vectors, shape (n, part), for each part."""
    found = []
    for start, end in pairwise(np.cumsum([0, *parts])):
        part = vectors[:, start:end].astype(np.float32)
        found.append(part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-6))
    return found
