"""A picture's layout: where its edges run, as one short vector. Copies lie near each other, whatever a hash says.

Histograms of oriented gradients (Dalal and Triggs, "Histograms of oriented gradients for human detection", CVPR 2005)
over a grid of soft cells, of the whole picture and of the picture without its frame, each summed with its mirror image.
No network and no weights: on photographs of guitars the copy is among the five nearest as often as with the pooled
features of a small ImageNet network (`docs/decisions.md`).
"""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.dedup.picture import Rgb

Vector = NDArray[np.int8]

NAME = "hog8"
_SIDE = 64
_CELLS = 8
_BINS = 8
LENGTH = 2 * _CELLS * _CELLS * _BINS
"""Bytes of a layout: two unit vectors, each value as a signed byte."""
_FRAME_TOLERANCE = 12
_FRAME_SHARE = 0.01
_SMALLEST_INSIDE = 16
_BLOCK = 1024
"""Images whose likeness to those shown is held at once."""


def layout(picture: Rgb) -> Vector:
    """Describe a picture, shape (height, width, 3), by a vector of shape (LENGTH,)."""
    return np.concatenate([_half(picture), _half(without_frame(picture))])


def without_frame(picture: Rgb) -> Rgb:
    """Cut off a margin of one colour on each side; again, for a frame within a frame. A view, nothing is copied."""
    for _ in range(3):
        edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        red, green, blue = cv2.split(cv2.absdiff(picture, np.full_like(picture, np.median(edge, axis=0))))
        differs = cv2.max(cv2.max(red, green), blue) > _FRAME_TOLERANCE
        rows = np.flatnonzero(differs.mean(axis=1) > _FRAME_SHARE)
        columns = np.flatnonzero(differs.mean(axis=0) > _FRAME_SHARE)
        if min(len(rows), len(columns)) < _SMALLEST_INSIDE:
            return picture
        inside = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        if inside.shape == picture.shape:
            return picture
        # Where a frame ends, a shrunk picture has a line of both colours: it would pass for the next edge.
        picture = inside[1:-1, 1:-1]
    return picture


def _half(picture: Rgb) -> Vector:
    small = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    both = _gradients(gray) + _gradients(np.ascontiguousarray(gray[:, ::-1]))
    scaled: Vector = np.rint(both * (127 / max(float(np.abs(both).max()), 1e-6))).astype(np.int8)
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


def unit(layouts: Vector) -> NDArray[np.float32]:
    """Turn layouts, shape (n, LENGTH), into unit vectors, shape (n, 2, LENGTH / 2): whole pictures, and insides."""
    halves = layouts.reshape(len(layouts), 2, LENGTH // 2).astype(np.float32)
    found: NDArray[np.float32] = halves / np.maximum(np.linalg.norm(halves, axis=2, keepdims=True), 1e-6)
    return found


class Nearest:
    """The nearest neighbours of some images among many, which are shown block by block: memory does not grow."""

    def __init__(self, ids: NDArray[np.int64], layouts: Vector, count: int) -> None:
        """Ask for the `count` nearest of each of `ids`, by each half of their layouts."""
        self._ids = ids
        self._vectors = unit(layouts)
        self._found = np.full((len(ids), 2, count), -1, np.int64)
        self._likeness = np.full((len(ids), 2, count), -np.inf, np.float32)

    def show(self, ids: NDArray[np.int64], layouts: Vector) -> None:
        """Compare with these images, those asked for among them or not."""
        others = unit(layouts)
        for start in range(0, len(self._ids), _BLOCK):
            rows = slice(start, start + _BLOCK)
            same = self._ids[rows, None] == ids[None]
            for half in (0, 1):
                likeness = self._vectors[rows, half] @ others[:, half].T
                likeness[same] = -np.inf
                self._keep_best(rows, half, ids, likeness)

    def _keep_best(self, rows: slice, half: int, ids: NDArray[np.int64], likeness: NDArray[np.float32]) -> None:
        known = self._likeness[rows, half]
        every = np.concatenate([known, likeness], axis=1)
        best = np.argpartition(-every, known.shape[1] - 1, axis=1)[:, : known.shape[1]]
        names = np.concatenate([self._found[rows, half], np.broadcast_to(ids, likeness.shape)], axis=1)
        self._likeness[rows, half] = np.take_along_axis(every, best, axis=1)
        self._found[rows, half] = np.take_along_axis(names, best, axis=1)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Give every pair found once, the smaller id first."""
        found = self._found.reshape(len(self._ids), -1)
        own = np.broadcast_to(self._ids[:, None], found.shape)[found >= 0]
        other = found[found >= 0]
        ordered = np.unique(np.stack([np.minimum(own, other), np.maximum(own, other)], axis=1), axis=0)
        yield from ((int(low), int(high)) for low, high in ordered)
