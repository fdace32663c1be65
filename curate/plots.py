"""Figures of a run, as PNG: learning curves, confusion matrix, reliability diagram, and sheets of pictures.

matplotlib by its objects and the Agg canvas, never pyplot: that keeps a figure until it is closed, and picks a canvas
by what display there is. Settings are matplotlib's own defaults and what stands here, whatever a user's `matplotlibrc`
says: the same run gives the same bytes.
"""

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

import numpy as np
from PIL import Image as Pictures

from curate.evaluating import Bin, Integers, Numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 200
"""Twice what a page shows them at: sharp on today's screens, and on paper."""
_INK, _QUIET, _LINE = "#1d1d1b", "#5d5d58", "#dcdcd8"
_BLUE, _ORANGE = "#0b5cad", "#c2570c"
"""Told apart by those who see no red or green, and in grey."""
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 10,
    "text.color": _INK,
    "text.parse_math": False,  # a class may be called $x$
    "figure.constrained_layout.w_pad": 0.12,  # inches
    "figure.constrained_layout.h_pad": 0.12,
    "axes.edgecolor": _QUIET,
    "axes.labelcolor": _INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "legend.frameon": False,
}
_MOST_WITH_NUMBERS = 40
"""Classes beyond which the cells of a matrix are too small to write in."""
_ROOM = 1.4
"""Inches that a matrix has for a class's name beside it: a longer one needs more, else its cells would get none."""
_DARK = 0.3
"""Share of a row from which on a cell is dark."""


def curves(epochs: Sequence[Mapping[str, Any]], best: int) -> bytes:
    """Loss and accuracy by epoch, as `metrics.jsonl` has them; the epoch whose weights were kept is marked."""

    def draw(figure: "Figure") -> None:
        losses, accuracies = figure.subplots(1, 2)
        numbers = [one["epoch"] for one in epochs]
        for axes, title, shown in (
            (losses, "Loss", (("train_loss", "train", _ORANGE), ("validation_loss", "validation", _BLUE))),
            (
                accuracies,
                "Accuracy",
                (("train_accuracy", "train", _ORANGE), ("validation_accuracy", "validation", _BLUE)),
            ),
        ):
            for key, name, colour in shown:
                if any(key in one for one in epochs):
                    values = [one.get(key, float("nan")) for one in epochs]
                    axes.plot(numbers, values, color=colour, label=name, marker=".", linewidth=1.6)
            _epoch_axis(axes, numbers)
            axes.axvline(best, color=_QUIET, linestyle=(0, (4, 3)), linewidth=1)
            axes.set_title(title)
            axes.legend(loc="best")
        accuracies.set_ylim(top=min(1.02, accuracies.get_ylim()[1]))
        _mark_best(accuracies, epochs, best)

    return _png(9, 3.6, draw)


def _epoch_axis(axes: "Axes", numbers: Sequence[int]) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - matplotlib is loaded on use

    axes.set_xlim(min(numbers) - 0.5, max(numbers) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")


def _mark_best(axes: "Axes", epochs: Sequence[Mapping[str, Any]], best: int) -> None:
    found = next((one for one in epochs if one["epoch"] == best), None)
    if found is None:
        return
    value = found["validation_accuracy"]
    axes.plot([best], [value], marker="o", markersize=8, color=_BLUE, markerfacecolor="white", markeredgewidth=1.8)
    # Above the axes: beside the mark it would lie on the curve.
    axes.set_title(f"best: {value:.3f} in epoch {best}", loc="right", color=_BLUE)


def confusion_matrix(counts: Integers, classes: Sequence[str]) -> bytes:
    """Answers by label, (classes, classes), rows being labels: counts, coloured by their share of the row."""
    totals = counts.sum(1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    size = min(3.2 + 0.5 * len(classes), 24)
    beyond = max(0.0, max(map(_inches, classes)) - _ROOM)

    def draw(figure: "Figure") -> None:
        from matplotlib.colors import PowerNorm  # noqa: PLC0415

        axes = figure.subplots()
        axes.grid(visible=False)
        # By its root: an image in fifty must be seen beside the diagonal.
        image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
        places = range(len(classes))
        axes.set_xticks(places, classes, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(places, [f"{name}  {total}" for name, total in zip(classes, totals[:, 0], strict=True)])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xticks(np.arange(-0.5, len(classes)), minor=True)
        axes.set_yticks(np.arange(-0.5, len(classes)), minor=True)
        axes.grid(which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="minor", length=0)
        axes.set_xlabel("answered")
        axes.set_ylabel("label, and its images")
        if len(classes) <= _MOST_WITH_NUMBERS:
            _write_cells(axes, counts, shares)
        bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, label="share of the label's images")
        bar.outline.set_visible(False)

    return _png(size + 1.4 + beyond, size + beyond, draw)


def _inches(name: str) -> float:
    """What a name takes at most, or nearly so."""
    return sum(0.14 if letter.isupper() or east_asian_width(letter) in "WF" else 0.09 for letter in name)


def _write_cells(axes: "Axes", counts: Integers, shares: Numbers) -> None:
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > _DARK else _INK
            weight = "normal" if row == column else "bold"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontweight=weight)


@dataclass(frozen=True, slots=True)
class Believed:
    """Answers by their scores: a line of a reliability diagram."""

    name: str
    scores: Numbers
    bins: Sequence[Bin]


def reliability(before: Believed, after: Believed) -> bytes:
    """How often answers of some score are right, with Wilson's 95 % intervals; below, how many have which score."""

    def draw(figure: "Figure") -> None:
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
        axes.plot([0, 1], [0, 1], color=_QUIET, linestyle=(0, (4, 3)), linewidth=1, label="as sure as right")
        for one, colour, marker in ((before, _ORANGE, "s"), (after, _BLUE, "o")):
            _draw_bins(axes, one, colour, marker)
        axes.set_ylim(-0.02, 1.02)
        axes.set_ylabel("share of right answers")
        axes.set_title("Reliability")
        axes.legend(loc="upper left")
        shown = [before.scores, after.scores]
        below.hist(shown, bins=np.linspace(0, 1, 21), color=[_ORANGE, _BLUE], rwidth=0.9)
        below.set_xlim(0, 1)
        below.set_xlabel("score of the answer")
        below.set_ylabel("answers")

    return _png(6.4, 6.4, draw)


def _draw_bins(axes: "Axes", one: Believed, colour: str, marker: str) -> None:
    scores = [found.score for found in one.bins]
    values = [found.right.hits / found.right.of for found in one.bins]
    low = [value - found.right.interval[0] for value, found in zip(values, one.bins, strict=True)]
    high = [found.right.interval[1] - value for value, found in zip(values, one.bins, strict=True)]
    error = np.maximum([low, high], 0)  # of 20 in 20 the interval ends at 1, less the last bit
    axes.errorbar(
        scores,
        values,
        yerr=error,
        color=colour,
        marker=marker,
        markersize=5,
        linewidth=1.4,
        ecolor=(colour, 0.5),
        elinewidth=0.8,
        capsize=2,
        label=one.name,
    )


@dataclass(frozen=True, slots=True)
class Cell:
    """A picture in a sheet; None stands for one that is gone."""

    picture: Pictures.Image | None
    caption: str


@dataclass(frozen=True, slots=True)
class Row:
    """Pictures side by side, and what they have in common."""

    title: str
    cells: Sequence[Cell]


_SIDE, _GAP, _HEAD, _FOOT = 200, 16, 52, 30
"""Pixels: of a picture, between two, above a row for its title, below a picture for its caption."""


def sheet(rows: Sequence[Row]) -> bytes:
    """Rows of pictures, none larger than 200 pixels, each with its caption."""
    columns = max((len(row.cells) for row in rows), default=1)
    width = columns * (_SIDE + _GAP) + _GAP
    each = _HEAD + _SIDE + _FOOT
    height = max(1, len(rows)) * each + _GAP

    def draw(figure: "Figure") -> None:
        if not rows:
            figure.text(0.5, 0.5, "every answer is right", ha="center", va="center")
        for number, row in enumerate(rows):
            top = number * each
            figure.text(_GAP / width, 1 - (top + _HEAD - 14) / height, row.title, fontsize=10, fontweight="bold")
            for column, cell in enumerate(row.cells):
                _draw_cell(figure, cell, _GAP + column * (_SIDE + _GAP), top + _HEAD)

    return _png(width / _SHEET_DPI, height / _SHEET_DPI, draw, dpi=_SHEET_DPI, layout=None)


_SHEET_DPI = 120


def _draw_cell(figure: "Figure", cell: Cell, left: int, top: int) -> None:
    width, height = figure.bbox.width, figure.bbox.height
    square = Pictures.new("RGB", (_SIDE, _SIDE), "#ececea")
    if cell.picture is not None:
        small = cell.picture.copy()
        small.thumbnail((_SIDE, _SIDE))
        square.paste(small, ((_SIDE - small.width) // 2, (_SIDE - small.height) // 2))
    else:
        middle = (left + _SIDE / 2) / width, 1 - (top + _SIDE / 2) / height
        figure.text(*middle, "no longer here", ha="center", va="center", color=_QUIET, fontsize=8)
    # Pixel for pixel: axes would sample them anew.
    figure.figimage(np.asarray(square), left, round(height) - top - _SIDE, zorder=0)
    figure.text(left / width, 1 - (top + _SIDE + 18) / height, cell.caption, fontsize=8, color=_QUIET)


def _png(
    width: float,
    height: float,
    draw: Callable[["Figure"], None],
    dpi: int = _DPI,
    layout: Any = "constrained",  # noqa: ANN401
) -> bytes:
    """Give the PNG of a figure of so many inches."""
    import matplotlib as mpl  # noqa: PLC0415 - half a second that only those who draw pay
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    out = io.BytesIO()
    with mpl.rc_context(), warnings.catch_warnings():
        # A class in a script that the font lacks is drawn as boxes here; the page beside has its name.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        figure = Figure(figsize=(width, height), dpi=dpi, layout=layout, facecolor="white")
        FigureCanvasAgg(figure)
        draw(figure)
        figure.savefig(out, format="png", metadata={"Software": None})  # no version in it
    return out.getvalue()
