"""Are two pictures the same photograph? Features are matched, one is laid over the other, and what is there compared.

A pose shared by two catalogue shots gives features that match; it does not give the same detail all over. And the same
guitar in another finish has the same detail, but not the colour.
"""

from collections.abc import Iterator
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
_LEAST_STILL = 6
_REACH = 3.0
"""Pixels by which a matched point may miss its place."""
_MOST_SCALE = 1.8
_MOST_DEGREES = 15.0
_LEAST_OVERLAP = 0.35
_SOFTENED = 1.0
"""Standard deviation of the blur, pixels."""
_WINDOW = (7, 7)
_FLAT = 40.0
"""Variance of gray within a window under which there is no detail to compare."""
_LEAST_DETAIL = 100
"""Windows, or pixels, under which a share of them says nothing."""
_AGREES, _EXACT = 0.95, 0.995
"""Correlation of two windows from which they show the same, and from which they do so exactly."""
_OTHER, _MORE_DETAIL, _LEAST_MARK = 0.8, 3.0, 0.01
"""Correlation under which windows show different things; how many times more detail a mark has, and its least share."""
_OFF = 12.0
"""Most that a channel may be off for two pixels to be the same, 0-255."""
_ALL_OVER = 0.9
"""Likeness from which nothing to speak of lies over either picture."""
_MOST_GAIN = 1.05
_GRAY = 0.6
"""Mean chroma (0-255) under which a picture is a gray one: even that of a black guitar has more."""
_NEAR, _NEAR_DIFFERENCE = 0.1, 2.0
"""How far below the limit, and how many times the limit, a pair may be for a person to look at it."""
_MEAN = np.full((1, 3), 1 / 3, np.float32)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_WHITE, _CLIPPED, _DARK = 255, 245, 24
_COLOUR_REACH = 28.0
"""Most that a channel may be off, 0-255."""
_LEAST_COLOUR_SHARE = 0.88

Gray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a look. `score` says how much of one the other shows, 0-1; `reason`, what decided."""

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

    likeness: float = 0.635
    difference: float = 3.0


def compare(a: Picture, b: Picture, limits: Limits = Limits()) -> Verdict:
    """Look at two pictures, mirrored too."""
    features = min(len(a.points), len(b.points))
    if features < _LEAST_FEATURES:
        plain = _compare_plain(a.rgb, b.rgb, limits)
        if plain.same or features < _LEAST_MATCHES:
            return plain
    ways = [(other, way, *_matches(a, other)) for other, way in ((b, ""), (b.mirrored(), "mirrored"))]
    ways = [way for way in ways if len(way[2]) >= _LEAST_MATCHES]
    if not ways:
        return Verdict(same=False, score=0.0, reason="few features match")
    laid = [found for way in ways for found in _arrangements(a, *way)]
    if not laid:
        return Verdict(same=False, score=0.0, reason="features match in no common arrangement")
    best: Verdict | None = None
    for arranged in sorted(laid, key=lambda one: one.matched, reverse=True):
        verdict = _overlay(a.rgb, arranged, limits.likeness)
        if best is None or (verdict.same, verdict.score) > (best.same, best.score):
            best = verdict
        if best.same:
            break
    return best or verdict


def _compare_plain(a: Rgb, b: Rgb, limits: Limits) -> Verdict:
    """Pictures with hardly a feature, such as flat drawings: the same if their thumbnails are, pixel by pixel."""
    size = (_THUMBNAIL, _THUMBNAIL)
    first, second = (cv2.resize(x, size, interpolation=cv2.INTER_AREA).astype(np.int16) for x in (a, b))
    off = float(np.abs(first - second).mean()) / limits.difference if limits.difference else np.inf
    # On the scale of the others: 1 for no difference, and what is asked of them at the limit.
    score = max(0.0, 1 - off * (1 - limits.likeness))
    if off < 1:
        return Verdict(same=True, score=score, reason="little detail, and the same all over")
    near = off < _NEAR_DIFFERENCE
    return Verdict(same=False, score=score, reason="little detail, and not the same all over", near=near)


def _matches(a: Picture, b: Picture) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Features that are each other's nearest."""
    # Not numpy's product: its threads, started for matrices this small by each of ours, cost eight times the work.
    likeness = np.asarray(cv2.gemm(a.descriptors, b.descriptors, 1.0, None, 0.0, flags=cv2.GEMM_2_T))  # type: ignore[call-overload]  # it takes None
    theirs = likeness.argmax(axis=1)
    ours = np.arange(len(a.points))
    mutual = (likeness.argmax(axis=0)[theirs] == ours) & (likeness[ours, theirs] > _LEAST_LIKE)
    return ours[mutual], theirs[mutual]


@dataclass(frozen=True, slots=True)
class _Arranged:
    """A picture, and the similarity transform, shape (2, 3), that brings so many of its features to their places."""

    rgb: Rgb
    way: str
    matrix: NDArray[np.float64]
    matched: int


def _arrangements(
    a: Picture, other: Picture, way: str, ours: NDArray[np.intp], theirs: NDArray[np.intp]
) -> Iterator[_Arranged]:
    """How `other` may lie over `a`: as most features say (RANSAC), and as it is, if some do not move."""
    to, points = a.points[ours], other.points[theirs]
    estimated, inside = cv2.estimateAffinePartial2D(
        points, to, method=cv2.RANSAC, ransacReprojThreshold=_REACH, maxIters=300, confidence=0.99
    )
    matched = int(inside.sum())
    if matched >= _LEAST_MATCHES:  # none at all where nothing was found
        found = np.asarray(estimated, np.float64)
        scale = float(np.hypot(found[0, 0], found[1, 0]))
        degrees = abs(float(np.degrees(np.arctan2(found[1, 0], found[0, 0]))))
        if 1 / _MOST_SCALE < scale < _MOST_SCALE and degrees < _MOST_DEGREES:
            yield _Arranged(other.rgb, way, found, matched)
            if np.abs(found - np.eye(2, 3)).max() < 1:
                return
    # Features of a watermark may outvote those of the picture, which has not moved.
    still = int((np.abs(to - points).max(axis=1) < _REACH).sum())
    if still >= _LEAST_STILL and a.rgb.shape == other.rgb.shape:
        yield _Arranged(other.rgb, way, np.eye(2, 3), still)


def _overlay(a: Rgb, arranged: _Arranged, least: float) -> Verdict:
    """Lay a picture over `a` and compare them where both are."""
    b, moved = arranged.rgb, arranged.matrix
    size = a.shape[1], a.shape[0]
    left, right = _softened(a), _softened(np.asarray(cv2.warpAffine(np.ascontiguousarray(b), moved, size), np.uint8))
    there = cv2.warpAffine(np.full(b.shape[:2], 255, np.uint8), moved, size)
    inside = cv2.erode(there, np.ones((5, 5), np.uint8), borderValue=0) == _WHITE
    if inside.mean() < _LEAST_OVERLAP:
        return Verdict(same=False, score=0.0, reason="too little in common")
    gray_left, gray_right = (np.asarray(cv2.transform(x, _MEAN), np.float32) for x in (left, right))
    likeness, agreeing = _likeness(left, right, gray_left, gray_right, inside)
    if likeness < least:
        near = likeness >= least - _NEAR
        return Verdict(same=False, score=likeness, reason="laid over each other, the detail differs", near=near)
    if _colour_agreement(left[agreeing], right[agreeing]) < _LEAST_COLOUR_SHARE:
        return Verdict(same=False, score=likeness, reason="the same detail in another colour", near=True)
    kind = "the same detail" if likeness >= _ALL_OVER else "the same detail where nothing lies over it"
    marked = _marked(gray_left, gray_right, inside, agreeing)
    return Verdict(same=True, score=likeness, reason=", ".join(filter(None, [kind, arranged.way])), marked=marked)


def _softened(rgb: Rgb) -> Gray:
    """Blur a little: a copy that was smaller once lacks the finest detail, and lies a fraction of a pixel off."""
    return np.asarray(cv2.GaussianBlur(rgb.astype(np.float32), (0, 0), _SOFTENED))


def _correlation(a: Gray, b: Gray, inside: NDArray[np.bool_]) -> tuple[Gray, Gray, Gray]:
    """Correlation of two pictures in small windows, and the variance of each there."""
    there = inside.astype(np.float32)
    area = np.maximum(cv2.boxFilter(there, -1, _WINDOW), 1e-3)

    def mean(values: Gray) -> Gray:
        return np.asarray(cv2.boxFilter(values * there, -1, _WINDOW) / area, np.float32)

    mean_a, mean_b = mean(a), mean(b)
    spread_a, spread_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    shared = (mean(a * b) - mean_a * mean_b) / np.sqrt(np.maximum(spread_a, 4) * np.maximum(spread_b, 4))
    return shared, spread_a, spread_b


def _likeness(
    a: Gray, b: Gray, gray_a: Gray, gray_b: Gray, inside: NDArray[np.bool_]
) -> tuple[float, NDArray[np.bool_]]:
    """How much of the detail of the plainer picture the other shows too, 0-1; and where both show it.

    The mean of two shares: of detail that is the same to the pixel, up to brightness; and of windows with detail that
    correlate, those that do exactly counting twice. A watermark or a frame adds detail to one of two copies; most of
    what the other shows is still there. Two shots in one pose agree everywhere a little, and exactly in few places.
    """
    shared, *spreads = _correlation(gray_a, gray_b, inside)
    off = np.zeros(inside.shape, np.float32)
    off[inside] = _off(a[inside], b[inside])[0]
    likeness, agreeing = 0.0, np.zeros_like(inside)
    for spread in spreads:
        detail = inside & (spread > _FLAT)
        if detail.sum() < _LEAST_DETAIL:
            continue
        correlate = ((shared[detail] > _AGREES).mean() + (shared[detail] > _EXACT).mean()) / 2
        found = float((off[detail] < _OFF).mean() + correlate) / 2
        if found > likeness:
            likeness, agreeing = found, detail & (shared > (_AGREES + _EXACT) / 2)
    return likeness, agreeing


def _marked(a: Gray, b: Gray, inside: NDArray[np.bool_], agreeing: NDArray[np.bool_]) -> Literal[0, 1, 2]:
    """Which of two copies has something laid over it: detail where the other has less of it, and other detail."""
    gain = float(a[agreeing].mean() / max(float(b[agreeing].mean()), 1.0))
    if not 1 / _MOST_GAIN < gain < _MOST_GAIN:
        return 0  # where the brighter one is clipped it has less detail, and nothing lies over the other
    shared, spread_a, spread_b = _correlation(a, b, inside)
    other = inside & (shared < _OTHER)
    over_a, over_b = (
        float((other & (x > _FLAT) & (x > _MORE_DETAIL * y)).mean())
        for x, y in ((spread_a, spread_b), (spread_b, spread_a))
    )
    if max(over_a, over_b) < _LEAST_MARK or max(over_a, over_b) < _MORE_DETAIL * min(over_a, over_b):
        return 0
    return 1 if over_a > over_b else 2


def _colour_agreement(a: Gray, b: Gray) -> float:
    """Share of pixels that agree in colour, of those that are no background; shapes (n, 3)."""
    off, bright = _off(a, b)
    drawn = (_most(np.abs(bright - np.median(bright, axis=0))) > _COLOUR_REACH) | (off > _COLOUR_REACH)
    return float((off[drawn] < _COLOUR_REACH).mean()) if drawn.sum() >= _LEAST_DETAIL else 1.0


def _off(a: Gray, b: Gray) -> tuple[Gray, Gray]:
    """How far pixels are apart, shape (n,), 0-255; and the brighter ones; of shapes (n, 3).

    One of two copies may be brighter, up to where white ends. Of a gray copy only the brightness is asked.
    """
    if min(float(np.abs(x - _sum(x)[:, None] / 3).mean()) for x in (a, b)) < _GRAY:
        a, b = (np.repeat(x @ _LUMA[:, None], 3, axis=1) for x in (a, b))
    most_a, most_b = _most(a), _most(b)
    usable = (most_a < _CLIPPED) & (most_b < _CLIPPED) & (np.minimum(most_a, most_b) > _DARK)
    if usable.sum() < _LEAST_DETAIL:
        usable = np.ones(len(a), np.bool_)
    gain = float(np.median(_sum(a)[usable] / np.maximum(_sum(b)[usable], 1.0)))
    dark, bright = (b, a) if gain > 1 else (a, b)
    meant = np.minimum(dark * max(gain, 1 / max(gain, 1e-3)), _WHITE)
    return _most(np.abs(meant - bright)), bright


def _most(pixels: Gray) -> Gray:
    """The largest of three channels: numpy's `max` along so short an axis takes twenty times as long."""
    return np.asarray(np.maximum(np.maximum(pixels[:, 0], pixels[:, 1]), pixels[:, 2]), np.float32)


def _sum(pixels: Gray) -> Gray:
    return np.asarray(pixels[:, 0] + pixels[:, 1] + pixels[:, 2], np.float32)
