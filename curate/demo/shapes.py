"""Outlines: the bodies and headstocks of the 13 guitars, as control points of closed curves.

The frame: seen from the front, the neck up, x to the right, y down. A body is one unit long, from -0.5 to 0.5; its
centre line is x = 0, so the bass side is on the left and the cutaway of a single-cut guitar on the right. Lengths
follow the real instruments (a Stratocaster's body is 15.9 inches long, its scale 25.5).
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.float64]
"""Shape (n, 2)."""
Control: TypeAlias = Sequence[tuple[float, float] | tuple[float, float, int]]
"""Points that a curve passes through; a third number of 1 makes a corner."""
_STEPS = 7


class Neck(NamedTuple):
    """How a neck sits on its body: all in body lengths."""

    bridge: float
    """y of the bridge: where the scale ends."""
    scale: float
    """From nut to bridge."""
    frets: int
    width: float
    """Half the width where the fingerboard ends."""
    head: str

    @property
    def nut(self) -> float:
        """The nut's y."""
        return self.bridge - self.scale

    @property
    def end(self) -> float:
        """The y where the fingerboard ends, a fret beyond the last."""
        return self.fret(self.frets + 1)

    def fret(self, number: int) -> float:
        """The y of a fret: each halves the string in twelve equal steps."""
        return float(self.bridge - self.scale * 2 ** (-number / 12))


def curve(control: Control, *, closed: bool = True) -> Points:
    """The smooth curve through `control`: Hermite pieces whose directions weigh the nearer neighbour more."""
    points = np.array([p[:2] for p in control], dtype=np.float64)
    corner = np.array([len(p) > 2 for p in control])  # noqa: PLR2004 - the third number is the corner's
    step = np.roll(points, -1, axis=0) - points
    length = np.hypot(step[:, 0], step[:, 1])[:, None] + 1e-9
    unit = step / length
    turn = np.roll(unit, 1, axis=0) * length + unit * np.roll(length, 1, axis=0)
    turn /= np.hypot(turn[:, 0], turn[:, 1])[:, None] + 1e-9
    turn[corner] = 0
    if not closed:
        turn[[0, -1]] = 0
    t = np.linspace(0, 1, _STEPS, endpoint=False)[:, None]
    start, end = points[:, None], np.roll(points, -1, axis=0)[:, None]
    first, last = (turn * length)[:, None], (np.roll(turn, -1, axis=0) * length)[:, None]
    h1, h2 = t * t * (3 - 2 * t), t * t * (t - 1)
    pieces = start * (1 - h1) + end * h1 + first * (h2 - t * (t - 1)) + last * h2
    whole: Points = pieces.reshape(-1, 2)
    return whole if closed else np.vstack([whole[:-_STEPS], points[-1:]])


def placed(points: Points, x: float, y: float, degrees: float = 0) -> Points:
    """`points` turned clockwise about the origin, then moved to (x, y)."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    moved: Points = points @ np.array([[c, s], [-s, c]]) + np.array([x, y])
    return moved


def box(x: float, y: float, width: float, height: float, degrees: float = 0) -> Points:
    """A rectangle about (x, y)."""
    w, h = width / 2, height / 2
    return placed(np.array([(-w, -h), (w, -h), (w, h), (-w, h)]), x, y, degrees)


def pill(x: float, y: float, width: float, height: float, degrees: float = 0) -> Points:
    """A wide box with round ends."""
    t = np.linspace(-math.pi / 2, math.pi / 2, 7)
    end = np.stack([np.cos(t), np.sin(t)], axis=1) * height / 2 + np.array([(width - height) / 2, 0])
    return placed(np.vstack([end, -end]), x, y, degrees)


def disc(x: float, y: float, radius: float) -> Points:
    """A circle, as a polygon that looks round at the size of knobs and of a sound hole."""
    t = np.linspace(0, 2 * math.pi, 14 if radius < 0.05 else 36, endpoint=False)  # noqa: PLR2004 - a knob or a hole
    return np.stack([x + radius * np.cos(t), y + radius * np.sin(t)], axis=1)


def mirrored(right: Control) -> Control:
    """A symmetric outline from its right half, which runs from the neck down to the centre line."""
    left = [(-p[0], *p[1:]) for p in reversed(right) if p[0]]
    return [*right, *left]


# fmt: off
_BODIES: dict[str, Control] = {
    "Stratocaster": [
        (.07, -.19), (.11, -.22), (.155, -.29), (.195, -.385), (.245, -.42), (.29, -.37), (.285, -.24), (.25, -.09),
        (.262, .02), (.34, .15), (.385, .28), (.345, .41), (.21, .485), (0, .5), (-.2, .48), (-.35, .39), (-.4, .24),
        (-.355, .08), (-.285, -.06), (-.272, -.17), (-.305, -.3), (-.308, -.43), (-.262, -.5), (-.205, -.46),
        (-.155, -.355), (-.11, -.28), (-.07, -.25)],
    "Telecaster": [
        (.07, -.23), (.12, -.25), (.16, -.32), (.215, -.405), (.28, -.38), (.302, -.27), (.268, -.1), (.285, .02),
        (.36, .15), (.398, .29), (.35, .43), (.2, .492), (0, .5), (-.2, .492), (-.35, .43), (-.398, .29), (-.36, .14),
        (-.29, 0), (-.268, -.11), (-.29, -.23), (-.312, -.34), (-.28, -.44), (-.19, -.478), (-.12, -.45), (-.07, -.4)],
    "Jazzmaster": [
        (.07, -.2), (.115, -.24), (.165, -.34), (.23, -.415), (.305, -.385), (.333, -.28), (.305, -.13), (.27, .01),
        (.28, .11), (.34, .22), (.378, .34), (.335, .455), (.22, .5), (.05, .485), (-.13, .455), (-.29, .4),
        (-.4, .29), (-.425, .15), (-.375, .02), (-.3, -.09), (-.278, -.18), (-.305, -.3), (-.312, -.42), (-.26, -.5),
        (-.19, -.48), (-.13, -.37), (-.07, -.28)],
    "Jaguar": [
        (.07, -.2), (.11, -.24), (.15, -.34), (.21, -.43), (.285, -.415), (.315, -.3), (.285, -.13), (.25, .01),
        (.265, .12), (.325, .23), (.358, .35), (.31, .46), (.2, .5), (.05, .48), (-.13, .445), (-.28, .385),
        (-.375, .27), (-.395, .13), (-.35, .01), (-.28, -.09), (-.258, -.18), (-.285, -.3), (-.29, -.42), (-.24, -.5),
        (-.175, -.47), (-.12, -.36), (-.07, -.28)],
    "Mustang": [
        (.08, -.22), (.13, -.25), (.19, -.33), (.25, -.36), (.31, -.31), (.325, -.2), (.285, -.06), (.285, .05),
        (.35, .17), (.405, .3), (.37, .42), (.24, .49), (.05, .5), (-.15, .48), (-.33, .42), (-.43, .3), (-.43, .16),
        (-.36, .03), (-.295, -.08), (-.29, -.19), (-.335, -.32), (-.33, -.44), (-.265, -.5), (-.19, -.46),
        (-.13, -.36), (-.08, -.28)],
    "LesPaul": [
        (.07, -.25), (.1, -.238), (.15, -.255), (.205, -.325), (.265, -.378), (.298, -.31), (.28, -.21),
        (.252, -.12), (.275, -.03), (.345, .09), (.385, .22), (.36, .36), (.26, .46), (.12, .495), (0, .5),
        (-.12, .495), (-.26, .46), (-.36, .36), (-.385, .22), (-.345, .09), (-.272, -.03), (-.248, -.13), (-.27, -.23),
        (-.292, -.34), (-.258, -.445), (-.165, -.495), (-.105, -.47), (-.07, -.42)],
    "SG": [
        (.07, -.29), (.1, -.275), (.14, -.3), (.185, -.38), (.25, -.485, 1), (.292, -.41), (.288, -.28), (.25, -.14),
        (.252, -.05), (.3, .05), (.375, .16), (.412, .29), (.365, .42), (.2, .49), (0, .5), (-.2, .49), (-.365, .42),
        (-.412, .29), (-.375, .16), (-.3, .04), (-.25, -.06), (-.25, -.15), (-.29, -.29), (-.3, -.42), (-.262, -.5, 1),
        (-.19, -.385), (-.14, -.3), (-.1, -.275), (-.07, -.29)],
    "FlyingV": mirrored([
        (.07, -.5, 1), (.13, -.455), (.16, -.35, 1), (.465, .4, 1), (.468, .46), (.42, .497, 1), (.3, .5, 1),
        (.255, .475), (.235, .44, 1), (.05, .08, 1), (0, .05)]),
    "Explorer": [
        (.07, -.2, 1), (.15, -.225), (.335, -.44, 1), (.375, -.44), (.4, -.39, 1), (.262, -.04), (.262, .03),
        (.35, .33, 1), (.34, .38), (.29, .395, 1), (.05, .41), (-.42, .5, 1), (-.475, .48), (-.488, .42, 1),
        (-.272, .04), (-.268, -.04), (-.315, -.29, 1), (-.305, -.33), (-.26, -.345, 1), (-.13, -.31), (-.07, -.28, 1)],
    "Firebird": [
        (.07, -.2), (.115, -.27), (.165, -.42), (.225, -.495), (.3, -.48), (.335, -.37), (.29, -.17), (.235, -.01),
        (.24, .1), (.285, .24), (.3, .36), (.24, .43), (.12, .445, 1), (.1, .465), (-.09, .485, 1), (-.24, .5),
        (-.355, .44), (-.395, .32), (-.355, .16), (-.27, .01), (-.23, -.1), (-.245, -.21), (-.262, -.3), (-.21, -.355),
        (-.13, -.335), (-.07, -.29)],
    "SemiHollow": mirrored([
        (.07, -.26), (.1, -.275), (.13, -.36), (.185, -.45), (.26, -.465), (.322, -.4), (.33, -.28), (.285, -.15),
        (.278, -.07), (.325, .03), (.4, .14), (.425, .26), (.378, .39), (.25, .475), (0, .5)]),
    "Hollow": [
        (.07, -.2), (.11, -.22), (.15, -.31), (.215, -.38), (.285, -.36), (.318, -.26), (.285, -.15), (.278, -.07),
        (.32, .01), (.4, .12), (.44, .25), (.395, .39), (.26, .475), (0, .5), (-.26, .475), (-.395, .39), (-.44, .25),
        (-.4, .12), (-.32, .01), (-.278, -.07), (-.285, -.15), (-.325, -.27), (-.295, -.4), (-.2, -.475), (-.07, -.5)],
    "Acoustic": mirrored([
        (.07, -.5), (.18, -.485), (.265, -.42), (.296, -.31), (.278, -.18), (.268, -.09), (.295, .01), (.355, .12),
        (.395, .25), (.365, .39), (.25, .475), (0, .5)]),
}
_HEADS: dict[str, Control] = {
    "fender": [
        (.053, 0), (.052, -.05), (.04, -.1), (.04, -.28), (.055, -.33), (.095, -.37), (.08, -.43), (.02, -.45),
        (-.05, -.4), (-.075, -.25), (-.09, -.1), (-.06, -.05), (-.053, 0)],
    "tele": [
        (.053, 0), (.04, -.06), (.035, -.3), (.06, -.38), (.03, -.43), (-.03, -.4), (-.07, -.1), (-.053, -.04),
        (-.053, 0)],
    "book": mirrored([
        (.05, 0), (.06, -.05), (.085, -.1), (.095, -.28), (.105, -.33), (.06, -.35), (.02, -.33), (0, -.34)]),
    "arrow": mirrored([(.05, 0), (.06, -.06), (.11, -.2, 1), (.07, -.32), (.02, -.4), (0, -.405)]),
    "hockey": [
        (.05, 0), (.05, -.08), (.02, -.3), (.1, -.42, 1), (.04, -.43), (-.06, -.34), (-.09, -.12, 1), (-.05, 0)],
    "reverse": [
        (.05, 0), (.07, -.06), (.1, -.16), (.07, -.38), (.02, -.43), (-.07, -.42), (-.05, -.34), (-.045, -.1),
        (-.05, 0)],
    "square": mirrored([(.048, 0), (.06, -.05, 1), (.075, -.33, 1), (0, -.345)]),
}
_GUARDS: dict[str, Control] = {
    "Stratocaster": [
        (.08, -.205), (.14, -.245), (.19, -.32), (.245, -.345), (.258, -.25), (.225, -.11), (.24, .03), (.305, .15),
        (.33, .28), (.28, .33), (.2, .25), (.11, .15), (-.11, .14), (-.2, .05), (-.225, -.1), (-.24, -.25),
        (-.235, -.38), (-.18, -.36), (-.13, -.27), (-.08, -.24)],
    "Telecaster": [
        (.08, -.25), (.13, -.26), (.185, -.17), (.2, -.06), (.15, .03), (0, .045), (-.15, .045), (-.235, -.02),
        (-.245, -.14), (-.272, -.29), (-.255, -.4), (-.17, -.43), (-.09, -.4)],
    "Jazzmaster": [
        (.08, -.22), (.14, -.27), (.2, -.36), (.27, -.355), (.29, -.25), (.255, -.08), (.245, .06), (.29, .18),
        (.33, .3), (.3, .39), (.22, .39), (.13, .27), (-.12, .22), (-.27, .17), (-.3, .06), (-.25, -.08), (-.245, -.2),
        (-.265, -.33), (-.255, -.43), (-.2, -.43), (-.13, -.31), (-.08, -.26)],
    "Jaguar": [
        (.08, -.22), (.16, -.22), (.19, -.1), (.2, .08), (.13, .22), (-.12, .2), (-.24, .15), (-.27, .05),
        (-.225, -.08), (-.215, -.18), (-.15, -.22), (-.08, -.25)],
    "Mustang": [
        (.09, -.23), (.17, -.28), (.25, -.31), (.28, -.22), (.235, -.06), (.2, .05), (.12, .16), (-.12, .16),
        (-.28, .14), (-.32, .05), (-.26, -.08), (-.25, -.2), (-.285, -.34), (-.26, -.42), (-.2, -.4), (-.14, -.3),
        (-.09, -.26)],
    "LesPaul": [(.09, -.2), (.16, -.19), (.2, -.08), (.2, .06), (.15, .12), (.115, .06), (.11, -.08)],
    "SG": mirrored([(.09, -.25), (.18, -.27), (.235, -.18), (.21, -.06), (.24, .07), (.16, .12), (0, .13)]),
    "FlyingV": [
        (.08, -.43), (.125, -.38), (.18, -.2), (.345, .21), (.35, .3), (.29, .31), (.11, .03), (-.09, .02), (-.12, -.2),
        (-.1, -.36)],
    "Explorer": [
        (.085, -.17), (.16, -.19), (.25, -.28), (.285, -.25), (.225, -.05), (.225, .05), (.3, .3), (.25, .35),
        (.15, .2), (.11, .1), (.11, -.1)],
    "Firebird": [
        (.1, -.25), (.17, -.36), (.235, -.38), (.25, -.25), (.19, -.04), (.18, .08), (.115, .12), (-.115, .11),
        (-.17, .04), (-.16, -.12), (-.115, -.22)],
    "SemiHollow": [(.1, -.18), (.2, -.16), (.22, -.04), (.19, .1), (.14, .12), (.115, 0)],
    "Hollow": [(.085, -.2), (.17, -.19), (.19, -.05), (.17, .1), (.125, .18), (.1, .1)],
    "Acoustic": [(.09, -.06), (.13, -.02), (.19, .03), (.22, .12), (.17, .18), (.11, .13), (.07, .04)],
}
PLATES: dict[str, tuple[Control, ...]] = {
    "Jaguar": (
        [(.1, -.25), (.16, -.36), (.22, -.4), (.275, -.36), (.285, -.27), (.25, -.1), (.205, -.08), (.175, -.22)],
        [(.21, .07), (.25, .1), (.31, .25), (.325, .35), (.27, .42), (.2, .38), (.16, .25)],
        [(-.12, -.29), (-.17, -.42), (-.23, -.45), (-.265, -.38), (-.245, -.22), (-.17, -.23)]),
    "Mustang": ([(.215, .03), (.26, .09), (.325, .22), (.34, .32), (.29, .35), (.22, .28), (.14, .17)],),
}
"""Of metal, beside the pickguard, with the controls on them."""
# fmt: on
NECKS: dict[str, Neck] = {
    "Stratocaster": Neck(0.21, 1.6, 21, 0.07, "fender"),
    "Telecaster": Neck(0.22, 1.62, 21, 0.07, "tele"),
    "Jazzmaster": Neck(0.2, 1.5, 21, 0.066, "fender"),
    "Jaguar": Neck(0.18, 1.42, 22, 0.066, "fender"),
    "Mustang": Neck(0.22, 1.62, 22, 0.08, "fender"),
    "LesPaul": Neck(0.17, 1.41, 22, 0.066, "book"),
    "SG": Neck(0.16, 1.55, 22, 0.07, "book"),
    "FlyingV": Neck(0.02, 1.42, 22, 0.064, "arrow"),
    "Explorer": Neck(0.15, 1.4, 22, 0.064, "hockey"),
    "Firebird": Neck(0.15, 1.4, 22, 0.064, "reverse"),
    "SemiHollow": Neck(0.14, 1.3, 22, 0.06, "book"),
    "Hollow": Neck(0.18, 1.23, 20, 0.058, "book"),
    "Acoustic": Neck(0.22, 1.27, 20, 0.06, "square"),
}
CLASSES: tuple[str, ...] = tuple(NECKS)


@cache
def body(name: str) -> Points:
    """The outline of a class's body. It is shared between calls: not to be changed."""
    return curve(_BODIES[name])


@cache
def headstock(name: str) -> Points:
    """The outline of a class's headstock where its neck carries it. It is shared between calls: not to be changed."""
    neck = NECKS[name]
    outline: Points = curve(_HEADS[neck.head]) * (neck.width / 0.07) + np.array([0, neck.nut])
    return outline


@cache
def guard(name: str) -> Points:
    """The outline of a class's pickguard. It is shared between calls: not to be changed."""
    return curve(_GUARDS[name])
