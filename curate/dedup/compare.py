"""Are two pictures the same photograph? Features are matched, one is laid over the other, and what is there compared.

A pose shared by two catalogue shots gives features that match; it does not give the same detail all over. And the same
guitar in another finish has the same detail, but not the colour.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from curate.dedup.picture import Picture, Rgb

_LEAST_FEATURES = 30
"""Under these, a picture is plain: too few could match by right."""
_THUMBNAIL = 48
_LEAST_LIKE = 0.75
"""Cosine of two descriptors from which they may show the same spot."""
_LEAST_MATCHES = 10
_REACH = 3.0
"""Pixels by which a matched point may miss its place."""
_MOST_SCALE = 1.8
_MOST_DEGREES = 15.0
_LEAST_OVERLAP = 0.35
_SOFTENED = 1.0
"""Standard deviation of the blur, pixels."""
_WINDOW = (15, 15)
_FLAT = 40.0
"""Variance of gray within a window under which there is no detail to compare."""
_LEAST_DETAIL = 100
"""Windows, or pixels, under which a share of them says nothing."""
_AGREES, _EXACT = 0.95, 0.995
"""Correlation of two windows from which they show the same, and from which they do so exactly."""
_LEAST_EXACT_SHARE = 0.46
"""Watermarked copies had 0.47 and more, two shots in one pose 0.45 and less, on half of the reference photographs."""
_GRAY = 0.6
"""Mean chroma (0-255) under which a picture is a gray one: even that of a black guitar has more."""
_NEAR, _NEAR_DIFFERENCE = 0.1, 2.0
"""How far below the limit, and how many times the limit, a pair may be for a person to look at it."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_WHITE, _CLIPPED, _DARK = 255, 245, 24
_COLOUR_REACH = 28.0
"""Most that a channel may be off, 0-255."""
_LEAST_COLOUR_SHARE = 0.88

Gray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a look. `score` is the share of detail that agrees, 0-1; `reason` says what decided."""

    same: bool
    score: float
    reason: str
    near: bool = False
    """Not the same, but a person might think otherwise."""
    marked: Literal[0, 1, 2] = 0
    """The first or the second has something laid over it that the other lacks."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How strict a look is: see `[dedup]` in `curate.toml`."""

    detail: float = 0.93
    difference: float = 3.0


def compare(a: Picture, b: Picture, limits: Limits = Limits()) -> Verdict:
    """Look at two pictures, mirrored too."""
    if min(len(a.points), len(b.points)) < _LEAST_FEATURES:
        return _compare_plain(a.rgb, b.rgb, limits.difference)
    straight, turned = _matches(a, b), _matches(a, b.mirrored())
    way = "mirrored" if len(turned[0]) > len(straight[0]) else ""
    ours, theirs = turned if way else straight
    other = b.mirrored() if way else b
    if len(ours) < _LEAST_MATCHES:
        return Verdict(same=False, score=0.0, reason="few features match")
    moved = _transform(a.points[ours], other.points[theirs])
    if moved is None:
        return Verdict(same=False, score=0.0, reason="features match in no common arrangement")
    return _overlay(a.rgb, other.rgb, moved, way, limits.detail)


def _compare_plain(a: Rgb, b: Rgb, limit: float) -> Verdict:
    """Pictures with hardly a feature, such as flat drawings: the same if their thumbnails are, pixel by pixel."""
    size = (_THUMBNAIL, _THUMBNAIL)
    first, second = (cv2.resize(x, size, interpolation=cv2.INTER_AREA).astype(np.int16) for x in (a, b))
    difference = float(np.abs(first - second).mean())
    reason = (
        "little detail, and the same all over" if difference < limit else "little detail, and not the same all over"
    )
    near = limit <= difference < _NEAR_DIFFERENCE * limit
    return Verdict(same=difference < limit, score=1 - difference / _WHITE, reason=reason, near=near)


def _matches(a: Picture, b: Picture) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Features that are each other's nearest."""
    # Not numpy's product: its threads, started for matrices this small by each of ours, cost eight times the work.
    likeness = np.asarray(cv2.gemm(a.descriptors, b.descriptors, 1.0, None, 0.0, flags=cv2.GEMM_2_T))  # type: ignore[call-overload]  # it takes None
    theirs = likeness.argmax(axis=1)
    ours = np.arange(len(a.points))
    mutual = (likeness.argmax(axis=0)[theirs] == ours) & (likeness[ours, theirs] > _LEAST_LIKE)
    return ours[mutual], theirs[mutual]


def _transform(to: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """The similarity transform that brings most of `points` to their places (RANSAC), if it is one copies have."""
    estimated, inside = cv2.estimateAffinePartial2D(
        points, to, method=cv2.RANSAC, ransacReprojThreshold=_REACH, maxIters=300, confidence=0.99
    )
    if inside.sum() < _LEAST_MATCHES:  # none at all where nothing was found
        return None
    found = np.asarray(estimated, np.float64)
    scale = float(np.hypot(found[0, 0], found[1, 0]))
    degrees = abs(float(np.degrees(np.arctan2(found[1, 0], found[0, 0]))))
    return found if 1 / _MOST_SCALE < scale < _MOST_SCALE and degrees < _MOST_DEGREES else None


def _overlay(a: Rgb, b: Rgb, moved: NDArray[np.float64], way: str, least: float) -> Verdict:
    """Lay `b` over `a` and compare them where both are."""
    size = a.shape[1], a.shape[0]
    left, right = _softened(a), _softened(np.asarray(cv2.warpAffine(np.ascontiguousarray(b), moved, size), np.uint8))
    there = cv2.warpAffine(np.full(b.shape[:2], 255, np.uint8), moved, size)
    inside = cv2.erode(there, np.ones((5, 5), np.uint8), borderValue=0) == _WHITE
    if inside.mean() < _LEAST_OVERLAP:
        return Verdict(same=False, score=0.0, reason="too little in common")
    detail, exact, agreeing = _agreement(left.mean(axis=2), right.mean(axis=2), inside)
    if detail < least and exact < _LEAST_EXACT_SHARE:
        near = detail >= least - _NEAR
        return Verdict(same=False, score=detail, reason="laid over each other, the detail differs", near=near)
    colour = _colour_agreement(left[agreeing], right[agreeing])
    score = min(detail, colour)
    if colour < _LEAST_COLOUR_SHARE:
        return Verdict(same=False, score=score, reason="the same detail in another colour", near=True)
    return Verdict(same=True, score=score, reason=", ".join(filter(None, [_kind(detail, least), way])))


def _softened(rgb: Rgb) -> Gray:
    """Blur a little: a copy that was smaller once lacks the finest detail, and lies a fraction of a pixel off."""
    return np.asarray(cv2.GaussianBlur(rgb.astype(np.float32), (0, 0), _SOFTENED))


def _kind(detail: float, least: float) -> str:
    return "the same detail" if detail >= least else "the same detail where nothing lies over it"


def _agreement(a: Gray, b: Gray, inside: NDArray[np.bool_]) -> tuple[float, float, NDArray[np.bool_]]:
    """Shares of windows with detail that correlate well, and exactly, of the plainer picture's; and which do well.

    A watermark or a frame adds detail to one of two copies; most of what the other shows is still there, and exactly.
    Two shots in one pose agree everywhere a little, and exactly in few places.
    """
    there = inside.astype(np.float32)
    area = np.maximum(cv2.boxFilter(there, -1, _WINDOW), 1e-3)

    def mean(values: Gray) -> Gray:
        return np.asarray(cv2.boxFilter(values * there, -1, _WINDOW) / area, np.float32)

    mean_a, mean_b = mean(a), mean(b)
    spread_a, spread_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    shared = (mean(a * b) - mean_a * mean_b) / np.sqrt(np.maximum(spread_a, 4) * np.maximum(spread_b, 4))
    well, exact, best = 0.0, 0.0, np.zeros_like(inside)
    for spread in (spread_a, spread_b):
        detail = inside & (spread > _FLAT)
        if detail.sum() < _LEAST_DETAIL:
            continue
        share = float((shared[detail] > _AGREES).mean())
        if share > well:
            well, exact = share, _spread_share(shared > _EXACT, detail)
            best = detail & (shared > (_AGREES + _EXACT) / 2)
    return well, exact, best


def _spread_share(exact: NDArray[np.bool_], detail: NDArray[np.bool_]) -> float:
    """Share of `detail` that is `exact`, but no more than twice that of any half of the picture.

    A watermark leaves something of every part; a picture of which one half was taken over is another picture.
    """
    rows, columns = (np.arange(n) < n / 2 for n in detail.shape)
    share = float(exact[detail].mean())
    for half in (rows[:, None], ~rows[:, None], columns[None], ~columns[None]):
        inside = detail & half
        if inside.sum() >= _LEAST_DETAIL:
            share = min(share, 2 * float(exact[inside].mean()))
    return share


def _colour_agreement(a: Gray, b: Gray) -> float:
    """Share of pixels that agree in colour, of those that are no background; shapes (n, 3).

    One of two copies may be brighter, up to where white ends. Of a gray copy only the brightness is asked.
    """
    if min(np.abs(x - x.mean(axis=1, keepdims=True)).mean() for x in (a, b)) < _GRAY:
        a, b = (np.repeat(x @ _LUMA[:, None], 3, axis=1) for x in (a, b))
    usable = (
        (a.max(axis=1) < _CLIPPED) & (b.max(axis=1) < _CLIPPED) & (np.minimum(a.max(axis=1), b.max(axis=1)) > _DARK)
    )
    if usable.sum() < _LEAST_DETAIL:
        usable = np.ones(len(a), np.bool_)
    gain = float(np.median(a[usable].sum(axis=1) / np.maximum(b[usable].sum(axis=1), 1.0)))
    dark, bright = (b, a) if gain > 1 else (a, b)
    meant = np.minimum(dark * max(gain, 1 / max(gain, 1e-3)), _WHITE)
    off = np.abs(meant - bright).max(axis=1)
    drawn = (np.abs(bright - np.median(bright, axis=0)).max(axis=1) > _COLOUR_REACH) | (off > _COLOUR_REACH)
    return float((off[drawn] < _COLOUR_REACH).mean()) if drawn.sum() >= _LEAST_DETAIL else 1.0
