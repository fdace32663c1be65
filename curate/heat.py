"""Sheets of explained pictures: the picture, what speaks for its answer, what tells that from another, and the odds.

Drawn by matplotlib, which is imported only when there is something to draw.
"""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EVIDENCE, DIFFERENCE = "#d7191c", "#1f5fd0"
"""Colours of what speaks for the answer, and of what speaks for it rather than for another: told apart by anyone."""
_DARK, _DIM, _FRAME, _PALE = "#222222", "#666666", "#bbbbbb", "#e6e6e6"
_DPI = 100
_MARGIN, _GAP = 0.25, 0.2
_CELL = 2.35
"""Inches of a picture's box, both ways; so are all lengths of this file."""
_BARS = 2.7
_WIDTH = 2 * _MARGIN + 3 * (_CELL + _GAP) + _BARS
_HEAD, _TITLES = 1.05, 0.62
"""Above all rows, and above each row's boxes."""
_ROW = _TITLES + _CELL + 0.2
_LONGEST_NAME = 22


@dataclass(frozen=True)
class Row:
    """One picture and its reasons. Maps are squares from 0 to 1, which lie over the whole picture."""

    picture: Image.Image
    heading: str
    label: str
    against: str
    evidence: NDArray[np.float32]
    difference: NDArray[np.float32]
    bars: Sequence[tuple[str, float]]
    """Classes and their probabilities, from the top."""
    outside: bool


def render(title: str, rows: Sequence[Row], image_format: str) -> bytes:
    """Draw a sheet, a row under the other; gives the bytes of a `png` or `jpeg`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - half a second, only to draw
    from matplotlib.figure import Figure  # noqa: PLC0415

    height = _HEAD + len(rows) * _ROW + _MARGIN
    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor="white")
    _head(figure, title)
    for number, row in enumerate(rows):
        _draw(figure, row, top=height - _HEAD - number * _ROW)
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a class in a script that the font lacks is drawn as boxes
        FigureCanvasAgg(figure)
        figure.savefig(out, format=image_format, pil_kwargs={"quality": 92} if image_format == "jpeg" else {})
    return out.getvalue()


def _head(figure: "Figure", title: str) -> None:
    top = figure.get_figheight()
    _write(figure, _MARGIN, top - 0.32, title, size=14, weight="bold")
    legend = (
        (EVIDENCE, "red: places that speak for the answer (Grad-CAM), the strongest of each picture in full colour"),
        (
            DIFFERENCE,
            "blue: places that speak for the answer and not for the other class, whose bar is blue (Finer-CAM)",
        ),
    )
    for number, (colour, words) in enumerate(legend):
        y = top - 0.6 - 0.22 * number
        _write(figure, _MARGIN, y, "\N{BLACK SQUARE}", size=12, color=colour)
        _write(figure, _MARGIN + 0.2, y, words, size=9.5, color=_DIM)


def _draw(figure: "Figure", row: Row, top: float) -> None:
    _write(figure, _MARGIN, top - 0.2, row.heading, size=11, weight="bold")
    cells = [
        ("the picture", _DIM, np.asarray(row.picture), True),
        (f"why {short(row.label)}", EVIDENCE, overlaid(row.picture, row.evidence, EVIDENCE), row.evidence.any()),
        (
            f"why {short(row.label)} and not {short(row.against)}",
            DIFFERENCE,
            overlaid(row.picture, row.difference, DIFFERENCE),
            row.difference.any(),
        ),
    ]
    bottom = top - _TITLES - _CELL
    for number, (title, colour, pixels, found) in enumerate(cells):
        left = _MARGIN + number * (_CELL + _GAP)
        _write(figure, left, top - 0.48, title, size=9.5, color=colour)
        axes = _axes(figure, left, bottom, _CELL, _CELL)
        axes.imshow(pixels, interpolation="lanczos")
        axes.set(xticks=[], yticks=[], anchor="N")
        axes.spines[:].set(color=_FRAME, linewidth=0.6)  # many a picture is as white as the sheet
        if not found:
            axes.text(0.5, 0.5, "nothing does", ha="center", transform=axes.transAxes, color=colour, size=11)
    left = _MARGIN + 3 * (_CELL + _GAP)
    words = "perhaps none of the classes; the nearest:" if row.outside else "most probable"
    _write(figure, left, top - 0.48, words, size=9.5, color=_DARK if row.outside else _DIM)
    _bars(_axes(figure, left, bottom, _BARS, _CELL), row)


def overlaid(picture: Image.Image, heat: NDArray[np.float32], colour: str) -> NDArray[np.float64]:
    """Lay heat over a picture whose own colours would be taken for it, and which is therefore grey. (H, W, 3), 0-1."""
    from matplotlib.colors import to_rgb  # noqa: PLC0415 - as above

    over = Image.fromarray(heat).resize(picture.size, Image.Resampling.BICUBIC)
    alpha = 0.85 * np.clip(np.asarray(over, dtype=float), 0, 1)[..., None]
    grey = 0.3 + 0.7 * np.asarray(picture.convert("L"), dtype=float)[..., None] / 255
    # Between mixing, which hides what lies under the heat, and multiplying, which shows no heat on a dark guitar.
    tinted: NDArray[np.float64] = grey * (1 - alpha) + alpha * (0.4 + 0.6 * grey) * np.array(to_rgb(colour))
    return tinted


def _bars(axes: "Axes", row: Row) -> None:
    axes.set(xlim=(0, 1), ylim=(3.9, -0.35))
    axes.set_axis_off()
    for place, (name, probability) in enumerate(row.bars):
        colour = EVIDENCE if name == row.label else DIFFERENCE if name == row.against else "#999999"
        axes.barh(place + 0.3, 1, height=0.24, color=_PALE)
        axes.barh(place + 0.3, probability, height=0.24, color=colour)
        axes.text(0, place, short(name), size=10, color=_DARK, va="center", parse_math=False)
        axes.text(1, place, percent(probability), size=10, color=_DARK, va="center", ha="right", parse_math=False)


def _axes(figure: "Figure", left: float, bottom: float, width: float, height: float) -> "Axes":
    across, down = figure.get_figwidth(), figure.get_figheight()
    return figure.add_axes((left / across, bottom / down, width / across, height / down))


def _write(figure: "Figure", x: float, y: float, words: str, **style: Any) -> None:  # noqa: ANN401 - matplotlib's
    # Names of files and classes may hold dollars, which would begin a formula.
    at = (x / figure.get_figwidth(), y / figure.get_figheight())
    figure.text(*at, words, parse_math=False, va="center", **({"color": _DARK} | style))


def percent(probability: float) -> str:
    """Say a probability so that nothing but certainty reads as certain."""
    if 0 < probability < 0.001 or 0.999 < probability < 1:  # noqa: PLR2004 - a tenth of a percent
        return "<0.1%" if probability < 0.5 else ">99.9%"  # noqa: PLR2004 - either end
    return f"{probability:.0%}" if 0.01 <= probability <= 0.99 else f"{probability:.1%}"  # noqa: PLR2004 - 1 and 99 %


def short(name: str, longest: int = _LONGEST_NAME) -> str:
    """Cut a long name in its middle: its ends tell more."""
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"
