"""What is mounted on a body: neck, pickguard, pickups, bridge, knobs and holes, in the order of drawing."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

import numpy as np

from curate.demo.shapes import NECKS, PLATES, Neck, Points, box, curve, disc, guard, headstock, pill, placed

Colour: TypeAlias = tuple[int, int, int]
_BLACK: Colour = (24, 23, 24)
_POLE: Colour = (70, 68, 66)


class Look(NamedTuple):
    """The colours of one guitar, and the choices that do not change its kind."""

    guard: Colour
    cover: Colour
    metal: Colour
    knob: Colour
    board: Colour
    neck: Colour
    head: Colour
    trim: Colour
    stain: Colour
    """All of the body's colour, or where its wood shows that of the rim."""
    wooden: bool
    options: tuple[bool, bool, bool]
    """Three coin tosses that each class reads its own way: a vibrato or not, a pickguard or not, ..."""


class Part(NamedTuple):
    """A filled polygon, or with a width a line, in the frame of `curate.demo.shapes`."""

    points: Points
    fill: Colour
    width: float = 0.0


def tone(colour: Colour, factor: float) -> Colour:
    """`colour` darkened (below 1) or lightened (above 1)."""
    red, green, blue = (min(255, round(c * factor)) for c in colour)
    return red, green, blue


def _poles(y: float, degrees: float, colour: Colour, spread: float = 0.13) -> list[Part]:
    row = placed(np.stack([np.linspace(-spread / 2, spread / 2, 6), np.zeros(6)], axis=1), 0, y, degrees)
    return [Part(box(px, py, 0.012, 0.012), colour) for px, py in row]


def _single(look: Look, y: float, degrees: float = 0, cover: Colour | None = None) -> list[Part]:
    shell = cover or look.cover
    rim, top = pill(0, y + 0.006, 0.2, 0.056, degrees), pill(0, y, 0.196, 0.05, degrees)
    return [Part(rim, tone(shell, 0.55)), Part(top, shell), *_poles(y, degrees, _POLE)]


def _humbucker(look: Look, y: float, height: float = 0.085) -> list[Part]:
    shell = look.metal if look.options[0] else _BLACK
    ring = look.trim if look.options[1] else _BLACK
    return [
        Part(box(0, y, 0.215, height + 0.03), tone(ring, 0.9)),
        Part(box(0, y, 0.175, height), shell),
        *_poles(y - height / 4, 0, tone(shell, 0.6) if look.options[0] else look.metal, 0.12),
    ]


def _knobs(look: Look, *places: tuple[float, float], radius: float = 0.03) -> list[Part]:
    return [
        part
        for x, y in places
        for part in (
            Part(disc(x + 0.005, y + 0.008, radius + 0.004), tone(look.knob, 0.35)),
            Part(disc(x, y, radius), look.knob),
            Part(disc(x - 0.004, y - 0.005, radius * 0.6), tone(look.knob, 1.25)),
        )
    ]


# fmt: off
def _guard(name: str, look: Look) -> list[Part]:
    outline = guard(name)
    return [Part(outline, look.guard), Part(np.vstack([outline, outline[:1]]), tone(look.guard, 0.62), 0.007)]


def _plate(look: Look, points: Points) -> list[Part]:
    return [Part(points + 0.005, tone(look.metal, 0.45)), Part(points, look.metal)]


def _bar(look: Look, y: float, width: float = 0.17) -> list[Part]:
    return _plate(look, pill(0, y, width, 0.034))


def _vibrato(look: Look, top: float, bottom: float, width: float) -> list[Part]:
    w = width / 2
    plate = np.array([(-w * 0.8, top), (w * 0.8, top), (w, bottom), (-w, bottom)])
    arm = np.array([(0.02, top + 0.02), (0.1, top - 0.02), (0.17, top - 0.16)])
    return [*_plate(look, plate), Part(box(0, top + 0.03, width, 0.02), tone(look.metal, 0.6)),
            Part(arm, tone(look.metal, 0.85), 0.014)]


def _f_holes(x: float, y: float, size: float) -> list[Part]:
    """Two of them, the right one and its mirror image."""
    half = [(-0.035, -0.15), (0.012, -0.165), (0.012, -0.1)]
    spine = curve([*half, (0, 0), *[(-u, -v) for u, v in reversed(half)]], closed=False)
    found = []
    for side in (1, -1):
        found += [
            Part(spine * np.array([side * size, size]) + np.array([side * x, y]), _BLACK, 0.026 * size),
            Part(disc(side * (x - 0.035 * size), y - 0.14 * size, 0.022 * size), _BLACK),
            Part(disc(side * (x + 0.035 * size), y + 0.14 * size, 0.022 * size), _BLACK),
            Part(box(side * x, y, 0.055 * size, 0.014 * size, side * 12), _BLACK)]
    return found


def _stratocaster(look: Look) -> list[Part]:
    arm = np.array([(0.085, 0.22), (0.13, 0.2), (0.2, 0.02)])
    return [
        *_single(look, -0.15), *_single(look, -0.03), *_single(look, 0.1, 11),
        *_knobs(look, (0.185, 0.09), (0.235, 0.17), (0.275, 0.25), radius=0.028),
        Part(np.array([(0.15, 0.03), (0.19, -0.01)]), look.cover, 0.016),
        *_plate(look, box(0, 0.21, 0.18, 0.075)), Part(box(0, 0.195, 0.16, 0.03), tone(look.metal, 0.7)),
        *([Part(arm, tone(look.metal, 0.9), 0.014)] if look.options[0] else []),
        *_plate(look, pill(0.31, 0.385, 0.11, 0.045, -50))]


def _telecaster(look: Look) -> list[Part]:
    chrome = look._replace(knob=tone(look.metal, 0.8))
    return [
        *_single(look, -0.15, cover=look.metal), *_plate(look, box(0, 0.165, 0.21, 0.22)),
        *_single(look, 0.115, 12, cover=_BLACK), Part(box(0, 0.215, 0.16, 0.05), tone(look.metal, 0.65)),
        *_plate(look, pill(0.263, 0.168, 0.31, 0.072, 87)), *_knobs(chrome, (0.265, 0.17), (0.27, 0.26), radius=0.026),
        Part(np.array([(0.258, 0.09), (0.258, 0.06)]), _BLACK, 0.022)]


def _offset_vibrato(look: Look, y: float) -> list[Part]:
    return [Part(box(0, y, 0.17, 0.035), tone(look.metal, 0.9)), Part(box(0, y, 0.15, 0.012), tone(look.metal, 0.5)),
            *_vibrato(look, y + 0.1, y + 0.25, 0.105)]


def _jazzmaster(look: Look) -> list[Part]:
    found = []
    for y in (-0.13, 0.075):
        found += [Part(box(0, y + 0.006, 0.245, 0.11), tone(look.cover, 0.5)), Part(box(0, y, 0.24, 0.104), look.cover)]
        found += _poles(y, 0, _POLE)
    return [
        *found, *_offset_vibrato(look, 0.19), *_knobs(look, (0.22, 0.22), (0.265, 0.32), radius=0.034),
        *_knobs(look, (0.23, -0.27), radius=0.016), Part(box(-0.225, -0.31, 0.025, 0.1, 8), _BLACK)]


def _jaguar(look: Look) -> list[Part]:
    found = []
    for y in (-0.13, 0.085):
        found += [Part(box(0, y - 0.012, 0.235, 0.075), tone(look.metal, 0.85)), *_single(look, y)]
    return [
        *[part for plate in PLATES["Jaguar"] for part in _plate(look, curve(plate))], *found,
        *_offset_vibrato(look, 0.19), *_knobs(look, (0.225, 0.2), (0.255, 0.3), radius=0.033),
        *[Part(box(0.225, y, 0.05, 0.022, -8), _BLACK) for y in (-0.33, -0.25, -0.17)],
        Part(box(-0.215, -0.33, 0.03, 0.11, -12), _BLACK)]


def _mustang(look: Look) -> list[Part]:
    stripes = [np.array([(-0.4 + d, 0.18), (-0.19 + d, 0.43 + d / 2)]) for d in (0, 0.055)]
    cover = _BLACK if look.options[1] else look.cover
    return [
        *[Part(stripe, look.trim, 0.032) for stripe in stripes if look.options[0]],
        *_guard("Mustang", look), *_plate(look, curve(PLATES["Mustang"][0])),
        *_knobs(look, (0.215, 0.13), (0.27, 0.22)),
        *_single(look, -0.12, -14, cover)[:2], *_single(look, 0.04, -14, cover)[:2],
        *[Part(box(-0.2, y, 0.035, 0.07, 10), _BLACK) for y in (-0.17, -0.06)],
        *_plate(look, box(0, 0.24, 0.235, 0.125)), *_bar(look, 0.21, 0.19), *_bar(look, 0.33, 0.2)]


def _les_paul(look: Look) -> list[Part]:
    return [
        *_humbucker(look, -0.135), *_humbucker(look, 0.07), *_bar(look, 0.17), *_bar(look, 0.255, 0.2),
        *_knobs(look, (0.2, 0.19), (0.305, 0.18), (0.2, 0.32), (0.3, 0.31)),
        Part(disc(-0.19, -0.33, 0.036), look.trim), Part(disc(-0.19, -0.33, 0.013), look.metal)]


def _sg(look: Look) -> list[Part]:
    return [
        *_humbucker(look, -0.19), *_humbucker(look, 0.05), *_bar(look, 0.16), *_bar(look, 0.245, 0.2),
        *_knobs(look, (0.2, 0.2), (0.29, 0.16), (0.23, 0.32), (0.32, 0.27)), *_knobs(look, (0.345, 0.37), radius=0.016)]


def _flying_v(look: Look) -> list[Part]:
    plate = [(-0.05, 0.08), (0.05, 0.08), (0.1, 0.17), (0.06, 0.18), (0, 0.115), (-0.06, 0.18), (-0.1, 0.17)]
    return [
        *_humbucker(look, -0.29), *_humbucker(look, -0.1), *_bar(look, 0.02), *_plate(look, np.array(plate)),
        *_knobs(look, (0.18, 0.06), (0.225, 0.15), (0.27, 0.24), radius=0.027)]


def _explorer(look: Look) -> list[Part]:
    return [
        *_humbucker(look, -0.14), *_humbucker(look, 0.055), *_bar(look, 0.15), *_bar(look, 0.235, 0.2),
        *_knobs(look, (0.18, 0.15), (0.215, 0.23), (0.25, 0.31), radius=0.027)]


def _firebird(look: Look) -> list[Part]:
    spine, groove = np.array([(-0.11, -0.32), (0.11, -0.26), (0.11, 0.445), (-0.11, 0.48)]), tone(look.stain, 0.5)
    found = []
    for y in (-0.13, 0.05):
        found += [Part(box(0, y, 0.19, 0.085), look.trim), Part(box(0, y, 0.165, 0.062), look.metal)]
    return [
        Part(spine, tone(look.stain, 1.25)), Part(spine[[1, 2]], groove, 0.008), Part(spine[[3, 0]], groove, 0.008),
        *_guard("Firebird", look), *found, *_bar(look, 0.15), *_vibrato(look, 0.26, 0.43, 0.13),
        *_knobs(look, (0.165, 0.18), (0.225, 0.22), (0.17, 0.3), (0.235, 0.34), radius=0.026)]


def _semi_hollow(look: Look) -> list[Part]:
    return [
        *_f_holes(0.275, 0.07, 0.85), *_humbucker(look, -0.14), *_humbucker(look, 0.04),
        *_bar(look, 0.14), *_bar(look, 0.225, 0.2),
        *_knobs(look, (0.19, 0.26), (0.29, 0.26), (0.175, 0.37), (0.27, 0.37), radius=0.026)]


def _hollow(look: Look) -> list[Part]:
    trapeze = np.array([(-0.03, 0.5), (-0.075, 0.31), (0.075, 0.31), (0.03, 0.5)])
    return [
        *_f_holes(0.265, 0.12, 1.08), *(_humbucker(look, -0.14) if look.options[2] else []),
        *(_humbucker(look, 0.06) if look.options[1] else []), *_guard("Hollow", look),
        Part(trapeze, look.metal, 0.018), *_bar(look, 0.31, 0.19), *_plate(look, box(0, 0.485, 0.08, 0.02)),
        Part(pill(0, 0.18, 0.23, 0.035), tone(look.board, 0.9)), *_knobs(look, (0.27, 0.36), (0.34, 0.28))]


def _acoustic(look: Look) -> list[Part]:
    rosette = ((0.135, look.trim), (0.128, _BLACK), (0.12, look.trim), (0.112, look.board), (0.104, (18, 14, 12)))
    belly = [(0.175, 0.205), (0.175, 0.24), (0.08, 0.27), (-0.08, 0.27), (-0.175, 0.24), (-0.175, 0.205)]
    return [
        *[Part(disc(0, -0.065, radius), colour) for radius, colour in rosette],
        Part(curve(belly), look.board), Part(pill(0, 0.222, 0.15, 0.012), look.trim), *_poles(0.25, 0, look.trim)]


_FITTINGS: dict[str, Callable[[Look], list[Part]]] = {
    "Stratocaster": _stratocaster, "Telecaster": _telecaster, "Jazzmaster": _jazzmaster, "Jaguar": _jaguar,
    "Mustang": _mustang, "LesPaul": _les_paul, "SG": _sg, "FlyingV": _flying_v, "Explorer": _explorer,
    "Firebird": _firebird, "SemiHollow": _semi_hollow, "Hollow": _hollow, "Acoustic": _acoustic,
}
_GUARDED_BY_CHANCE = {"LesPaul", "SG", "Explorer", "SemiHollow", "Acoustic"}
_GUARD_COMES_LATER = {"Mustang", "Firebird", "Hollow"}
"""These put something of their own below it."""
# fmt: on


def _taper(neck: Neck, y: float) -> float:
    """Half the neck's width at `y`: three quarters of it are left at the nut."""
    return neck.width * (0.75 + 0.25 * (y - neck.nut) / (neck.end - neck.nut))


def _across(neck: Neck, y: float) -> Points:
    half = _taper(neck, y)
    return np.array([(-half, y), (half, y)])


def fingerboard(name: str) -> Points:
    """The neck seen from the front: what shows of it is its fingerboard."""
    neck = NECKS[name]
    return np.vstack([_across(neck, neck.nut), _across(neck, neck.end)[::-1]])


def _neck(name: str, look: Look) -> Iterable[Part]:
    neck = NECKS[name]
    head, board = headstock(name), fingerboard(name)
    yield Part(head, look.head)
    yield Part(np.vstack([head, head[:1]]), tone(look.head, 0.5), 0.008)
    one_side = neck.head not in {"book", "arrow", "square"}
    for i in range(6):
        side, row = (1 if neck.head == "reverse" else -1, i) if one_side else (1 - 2 * (i % 2), 1.7 * (i // 2))
        yield Part(disc(side * 0.085, neck.nut - 0.1 - 0.052 * row, 0.018), look.metal)
    yield Part(board * np.array([1.08, 1]), tone(look.neck, 0.75))
    yield Part(board, look.board)
    for fret in range(neck.frets + 1):
        yield Part(
            _across(neck, neck.fret(fret)),
            look.trim if not fret else tone(look.metal, 0.85),
            0.014 if not fret else 0.005,
        )
    for fret in (3, 5, 7, 9, 12, 15, 17, 19):
        y = (neck.fret(fret) + neck.fret(fret - 1)) / 2
        yield Part(box(0, y, neck.width, 0.02) if look.options[1] else disc(0, y, 0.013), look.trim)


def _strings(name: str, look: Look) -> Iterable[Part]:
    neck = NECKS[name]
    for i in np.linspace(-1, 1, 6):
        line = np.array([(i * _taper(neck, neck.nut) * 0.85, neck.nut), (i * 0.068, neck.bridge)])
        yield Part(line, tone(look.metal, 1.1), 0.0035)


def parts(name: str, look: Look) -> list[Part]:
    """All that class `name` carries, the lowest layer first."""
    bare = name in _GUARD_COMES_LATER or (name in _GUARDED_BY_CHANCE and not look.options[2])
    return [
        *_neck(name, look),
        *([] if bare else _guard(name, look)),
        *_FITTINGS[name](look),
        *_strings(name, look),
    ]
