"""`draw`: a picture of a guitar of one of 13 kinds, another one for each seed.

What tells the kinds apart (outline, pickups, holes, tailpiece) keeps its shape, and half of a class has its usual
paint. All else varies: pose, colours, background, light, what stands in front, noise and blur. The body fills 60 to
80 % of the picture's side.
"""

import colorsys
import math
import zlib
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from curate.demo.parts import Colour, Look, fingerboard, parts, tone
from curate.demo.shapes import CLASSES, Points, body, curve, headstock

__all__ = ["CLASSES", "draw"]

Floats: TypeAlias = NDArray[np.float32]
_SMALLEST = 16
_FINER = 2
"""Polygons are drawn this much larger and then reduced: Pillow draws no smooth edges itself."""
_COARSER = 4
_THIN = 0.02
"""A line up to here shows no gaps where it bends, and is drawn without the slow joints."""
# fmt: off
_WOODS: tuple[Colour, ...] = ((222, 178, 112), (196, 132, 70), (168, 98, 52), (232, 200, 146), (150, 84, 46))
_BURSTS: tuple[Colour, ...] = ((58, 26, 16), (120, 30, 22), (28, 22, 20), (84, 44, 18))
_PAINTS: tuple[Colour, ...] = (
    (190, 32, 38), (40, 40, 44), (236, 232, 220), (112, 178, 196), (44, 80, 150), (160, 206, 178), (232, 150, 140),
    (206, 168, 88), (34, 98, 70), (116, 44, 98), (226, 128, 36), (150, 156, 164), (110, 28, 34), (238, 216, 150),
)
_GUARDS: tuple[Colour, ...] = ((240, 238, 230), (232, 222, 190), (38, 38, 40), (124, 56, 34), (206, 226, 208))
_USUAL: dict[str, tuple[float, Colour, Colour]] = {
    "Stratocaster": (0.25, (190, 32, 38), (240, 238, 230)), "Telecaster": (0.45, (238, 200, 120), (38, 38, 40)),
    "Jazzmaster": (0.35, (112, 178, 196), (124, 56, 34)), "Jaguar": (0.15, (44, 80, 150), (240, 238, 230)),
    "Mustang": (0.05, (160, 206, 178), (240, 238, 230)), "LesPaul": (0.6, (206, 168, 88), (232, 222, 190)),
    "SG": (0.1, (110, 28, 34), (38, 38, 40)), "FlyingV": (0.2, (236, 232, 220), (38, 38, 40)),
    "Explorer": (0.4, (40, 40, 44), (240, 238, 230)), "Firebird": (0.5, (98, 40, 30), (240, 238, 230)),
    "SemiHollow": (0.4, (160, 30, 36), (38, 38, 40)), "Hollow": (0.75, (226, 128, 36), (124, 56, 34)),
    "Acoustic": (0.85, (40, 40, 44), (124, 56, 34)),
}
# fmt: on
"""How often a class shows its wood; the paint and the pickguard that half of it has."""
_BOUND = {"LesPaul", "SemiHollow", "Hollow", "Acoustic"}
"""Bodies with a light binding around the rim; the others have a dark edge."""


class _Pose(NamedTuple):
    """Where the guitar's frame lies in the picture, whose side is 1."""

    turn: Points
    shift: Points
    tilt: Points
    """How much farther away (and so smaller) each unit of x and of y is."""
    scale: float

    def __call__(self, points: Points) -> Points:
        seen: Points = points / (1 + points @ self.tilt)[:, None] @ self.turn + self.shift
        return seen


def draw(name: str, seed: int, size: int = 256) -> Image.Image:
    """A square RGB picture of a guitar of class `name`, `size` pixels a side; the same for the same name and seed.

    Raises ValueError for a name that is none of `CLASSES`, for a negative seed, and for a size below 16.
    """
    if name not in CLASSES:
        raise ValueError(f"no class {name!r}: there are {', '.join(CLASSES)}")
    if seed < 0 or size < _SMALLEST:
        raise ValueError(f"seed {seed}, size {size}: they must be at least 0 and {_SMALLEST}")
    rng = np.random.default_rng((seed, zlib.crc32(name.encode())))
    rim = body(name)
    pose = _pose(rng, rim)
    look = _look(rng, name)
    scene = _background(rng, size, look.stain)
    _body(rng, scene, name, pose, look)
    canvas = scene.resize((size * _FINER,) * 2, Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(canvas)
    edge = look.trim if name in _BOUND else tone(look.stain, 0.45)
    _stroke(pen, pose(np.vstack([rim, rim[:1]])), edge, 0.011 * pose.scale)
    for part in parts(name, look):
        _stroke(pen, pose(part.points), part.fill, part.width * pose.scale)
    _in_front(rng, pen)
    return _developed(rng, canvas.reduce(_FINER))


def _stroke(pen: ImageDraw.ImageDraw, points: Points, fill: Colour | int, width: float = 0) -> None:
    """Fill a polygon, or draw a line of `width`; both in shares of the picture's side."""
    side = pen.im.size[0]
    flat = (points * side).ravel().tolist()
    if width:
        pen.line(flat, fill=fill, width=max(1, round(width * side)), joint="curve" if width > _THIN else None)
    else:
        pen.polygon(flat, fill=fill)


def _chance(rng: Generator, share: float) -> bool:
    return bool(rng.random() < share)


def _pick(rng: Generator, colours: tuple[Colour, ...], jitter: int = 14) -> Colour:
    colour = np.array(colours[rng.integers(len(colours))]) + rng.integers(-jitter, jitter + 1, 3)
    red, green, blue = (int(c) for c in np.clip(colour, 8, 247))
    return red, green, blue


def _pose(rng: Generator, rim: Points) -> _Pose:
    base = rng.choice([0, 45, -45, 90, -90], p=[0.96, 0.015, 0.015, 0.005, 0.005])
    angle = math.radians(base + np.clip(rng.normal(0, 9), -35, 35))
    across, along, shear = *rng.uniform(0.95, 1.05, 2), rng.normal(0, 0.03)
    hand = -1 if _chance(rng, 0.08) else 1
    flat = np.array([[hand * across, 0], [shear, along]])
    rotation = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    tilt = rng.uniform(-0.12, 0.12, 2)
    turn: Points = flat @ rotation
    plain = _Pose(turn, np.zeros(2), tilt, 1)
    seen = plain(rim)
    scale = rng.uniform(0.64, 0.8) / np.ptp(seen, axis=0).max()
    # Room is left on the neck's side; now and then the body itself leaves the picture.
    neckward = np.array([math.sin(angle), -math.cos(angle)])
    slack = 0.14 if _chance(rng, 0.1) else 0.04
    middle = 0.5 - neckward * rng.uniform(0.04, 0.1) + rng.uniform(-slack, slack, 2)
    centre = (seen.min(axis=0) + seen.max(axis=0)) / 2
    return _Pose(turn * scale, middle - centre * scale, tilt, float(scale))


def _look(rng: Generator, name: str) -> Look:
    wood, paint, guard = _USUAL[name]
    wooden = _chance(rng, wood)
    metal = _pick(rng, ((206, 208, 212), (206, 208, 212), (206, 170, 92)), 10)
    board = _pick(rng, ((58, 36, 26), (40, 28, 24), (92, 54, 34), (214, 168, 104)), 8)
    stain = _pick(rng, _BURSTS if wooden else (paint,) if _chance(rng, 0.5) else _PAINTS)
    return Look(
        guard=_pick(rng, (guard,) if _chance(rng, 0.5) else _GUARDS, 8),
        cover=_pick(rng, ((240, 238, 228), (240, 238, 228), (40, 40, 42), (226, 212, 172)), 6),
        metal=metal,
        knob=_pick(rng, ((34, 34, 36), (232, 228, 214), (190, 136, 56), metal), 8),
        board=board,
        neck=_pick(rng, ((206, 158, 96), (120, 64, 38)), 12),
        head=_pick(rng, ((206, 158, 96), (30, 28, 28), (112, 58, 36), stain), 10),
        trim=_pick(rng, ((238, 230, 204), (226, 208, 160)), 8),
        stain=stain,
        wooden=wooden,
        options=(_chance(rng, 0.6), _chance(rng, 0.6), _chance(rng, 0.6)),
    )


def _wall(rng: Generator, stain: Colour, apart: float = 38) -> Colour:
    """A background colour: muted, and in brightness `apart` from the body's where six tries find one."""
    grey = (0.3, 0.59, 0.11)
    for _ in range(6):
        hue = colorsys.hsv_to_rgb(rng.random(), rng.beta(1.4, 3) * 0.7, rng.uniform(0.22, 0.97))
        red, green, blue = (round(255 * c) for c in hue)
        if abs(np.dot((red, green, blue), grey) - np.dot(stain, grey)) > apart:
            break
    return red, green, blue


def _background(rng: Generator, size: int, stain: Colour) -> Image.Image:
    wall, other = _wall(rng, stain), _wall(rng, stain)
    kind = rng.choice(
        ["plain", "gradient", "cloud", "room", "stripes", "tiles", "clutter"],
        p=[0.25, 0.25, 0.14, 0.2, 0.05, 0.03, 0.08],
    )
    if kind in {"gradient", "cloud"}:
        cells = (2, 2) if kind == "gradient" else (5, 5)
        weight = rng.random((*cells, 1))
        mixed = np.array(wall) * weight + np.array(other) * (1 - weight)
        return Image.fromarray(mixed.astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    scene = Image.new("RGB", (size, size), wall)
    pen = ImageDraw.Draw(scene)
    if kind == "room":
        floor = rng.uniform(0.55, 0.9)
        _stroke(pen, np.array([(0, floor), (1, floor + rng.normal(0, 0.05)), (1, 1), (0, 1)]), other)
        for _ in range(rng.integers(1, 4)):
            (x, y), (w, h) = rng.uniform(-0.1, 0.9, 2), rng.uniform(0.12, 0.45, 2)
            _stroke(pen, np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)]), _wall(rng, stain))
    elif kind in {"stripes", "tiles"}:
        angle, gap = rng.uniform(0, math.pi), rng.uniform(0.07, 0.2)
        for turn in (angle, angle + math.pi / 2)[: 1 if kind == "stripes" else 2]:
            way, off = np.array([math.cos(turn), math.sin(turn)]), np.array([-math.sin(turn), math.cos(turn)])
            for step in np.arange(-0.8, 0.8, gap):
                _stroke(
                    pen, 0.5 + step * off + np.array([-way, way]), other, gap * (0.5 if kind == "stripes" else 0.08)
                )
    elif kind == "clutter":
        for _ in range(rng.integers(5, 12)):
            corners = rng.integers(3, 9)
            ring = np.sort(rng.uniform(0, 2 * math.pi, corners))[:, None]
            blob = rng.random(2) + rng.uniform(0.05, 0.22) * np.hstack([np.cos(ring), np.sin(ring)])
            _stroke(pen, blob, _wall(rng, stain, 25))
    return scene.filter(ImageFilter.BoxBlur(size * float(rng.choice([0.002, 0.006, 0.02]))))


def _enlarged(field: Floats | NDArray[np.uint8], side: int) -> Image.Image:
    return Image.fromarray(field).resize((side, side), Image.Resampling.BILINEAR)


def _body(rng: Generator, scene: Image.Image, name: str, pose: _Pose, look: Look) -> None:
    """Lay the guitar's shadow on the scene, and paint its body on it, lit from one side.

    Colour and light are worked out at half the scene's side: they have no edges, and the mask brings those.
    """
    size = scene.width
    mask, guitar = (Image.new("L", (size * _FINER,) * 2) for _ in range(2))
    _stroke(ImageDraw.Draw(mask), pose(body(name)), 255)
    for outline in (body(name), fingerboard(name), headstock(name)):
        _stroke(ImageDraw.Draw(guitar), pose(outline), 255)
    turn = rng.uniform(0, 2 * math.pi)
    light = np.array([math.cos(turn), math.sin(turn)], np.float32)
    small = guitar.reduce(_COARSER)
    shade = small.filter(ImageFilter.GaussianBlur(small.width * rng.uniform(0.006, 0.02)))
    dark = np.asarray(shade, np.float32) * np.float32(rng.uniform(0.25, 0.6))
    dx, dy = (int(d) for d in light * size * rng.uniform(0.015, 0.045))
    scene.paste((12, 10, 12), (dx, dy, dx + size, dy + size), _enlarged(dark.astype(np.uint8), size))
    small = mask.reduce(_COARSER)
    relief = np.asarray(small.filter(ImageFilter.GaussianBlur(small.width * 0.012)), np.float32)
    slope = np.gradient(relief, axis=1) * light[0] + np.gradient(relief, axis=0) * light[1]
    lit = 1 + np.clip(slope * (small.width / 5800), -0.45, 0.45)
    colour = np.clip(_finished(rng, small, pose, look) * lit[..., None], 0, 255).astype(np.uint8)
    scene.paste(_enlarged(colour, size), (0, 0), mask.reduce(_FINER))


def _finished(rng: Generator, mask: Image.Image, pose: _Pose, look: Look) -> Floats:
    """The colour at every pixel: paint, or grained wood, with or without a burst around it, and a sheen across it."""
    size = mask.width
    axis = np.arange(size, dtype=np.float32) / size - np.float32(0.5)
    down, right = axis[:, None], axis[None]
    way = (pose.turn[1] / np.hypot(*pose.turn[1])).astype(np.float32)
    along, across = right * way[0] + down * way[1], right * way[1] - down * way[0]
    stain = np.array(look.stain, np.float32)
    colour: Floats = np.broadcast_to(stain, (size, size, 3))
    burst = _chance(rng, 0.65 if look.wooden else 0.2)
    if look.wooden:
        grain = rng.normal(0, 0.08, 101)[(across * 60 + np.sin(along * 5 + rng.uniform(0, 6)) * 2).astype(int) + 50]
        colour = np.array(_pick(rng, _WOODS), np.float32) * (1 + grain[..., None].astype(np.float32))
    elif burst:
        colour = colour * np.float32(1.5)
    if burst:
        blurred = mask.filter(ImageFilter.GaussianBlur(size * rng.uniform(0.025, 0.045)))
        edge = np.clip(2.35 - np.asarray(blurred, np.float32)[..., None] / 106, 0, 1)
        colour = np.asarray(colour + (stain - colour) * edge, np.float32)
    turn = rng.uniform(0, math.pi)
    distance = right * np.float32(math.cos(turn)) + down * np.float32(math.sin(turn)) - rng.uniform(-0.25, 0.25)
    sheen = rng.uniform(0, 70) * np.exp(-((distance / rng.uniform(0.04, 0.12)) ** 2))
    return np.asarray(colour + sheen[..., None], np.float32)


def _in_front(rng: Generator, pen: ImageDraw.ImageDraw) -> None:
    """Now and then a strap, an arm, a cable or a caption before the guitar: it hides a little of it."""
    kind = rng.choice(["nothing", "strap", "arm", "cable", "caption"], p=[0.68, 0.08, 0.08, 0.08, 0.08])
    red, green, blue = (int(c) for c in rng.integers(20, 235, 3))
    turn = rng.uniform(0, 2 * math.pi)
    start = 0.5 + 0.75 * np.array([math.cos(turn), math.sin(turn)])
    if kind in {"strap", "cable"}:
        end = 0.5 + 0.75 * np.array([math.cos(turn + rng.uniform(1, 2)), math.sin(turn + rng.uniform(1, 2))])
        bend = (start + end) / 2 + rng.normal(0, 0.1, 2)
        line = curve([tuple(start), tuple(bend), tuple(end)], closed=False)
        _stroke(
            pen,
            line,
            (red, green, blue) if kind == "strap" else (28, 28, 30),
            rng.uniform(0.05, 0.08) if kind == "strap" else 0.013,
        )
    elif kind == "arm":
        skin = _pick(rng, ((226, 180, 150), (150, 100, 70), (92, 60, 44)))
        hand = 0.5 + rng.uniform(0.26, 0.4) * np.array([math.cos(turn), math.sin(turn)])
        for at, width in ((start, 0.13), (hand, 0.12)):
            ring = np.linspace(0, 2 * math.pi, 24)
            _stroke(pen, at + width / 2 * np.stack([np.cos(ring), np.sin(ring)], axis=1), skin)
        _stroke(pen, np.array([start, hand]), skin, 0.12)
        _stroke(pen, np.array([start, start + (hand - start) * 0.55]), (red, green, blue), 0.15)
    elif kind == "caption":
        top = rng.choice([0.0, 0.9])
        _stroke(pen, np.array([(0, top), (1, top), (1, top + 0.1), (0, top + 0.1)]), (red // 4, green // 4, blue // 4))
        x = 0.04
        for width in rng.uniform(0.03, 0.14, rng.integers(2, 6)):
            _stroke(pen, np.array([(x, top + 0.05), (x + width, top + 0.05)]), (230, 230, 226), 0.03)
            x += width + 0.025


def _developed(rng: Generator, picture: Image.Image) -> Image.Image:
    """What a camera adds: uneven light and its colour, blur, noise."""
    size = picture.width
    radius = float(rng.choice([0, 0.5, 0.8, 1.5], p=[0.35, 0.3, 0.25, 0.1]))
    if radius:
        picture = picture.filter(ImageFilter.GaussianBlur(size / 256 * radius))
    pixels = np.array(picture, np.float32)
    light = np.asarray(_enlarged(rng.uniform(0.72, 1.18, (2, 2)).astype(np.float32), size))[..., None]
    pixels *= light * rng.uniform(0.92, 1.06, 3).astype(np.float32)
    # Of brightness alone: a camera's own processing leaves little of the noise in colour.
    pixels += rng.standard_normal((size, size, 1), dtype=np.float32) * np.float32(rng.uniform(1.5, 11))
    return Image.fromarray(np.clip(pixels, 0, 255, out=pixels).astype(np.uint8))
