"""What a run bears, drawn: a panel a corruption, with a picture at each strength above the accuracy there."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trainer.cache import Pixels
from trainer.corrupt import CORRUPTIONS
from trainer.robustness import corrupt

if TYPE_CHECKING:
    from curate.robustness import RobustnessReport, Strength

_COLUMNS = 4
_PANEL = (3.6, 3.1)
"""Inches."""
_DOTS = 110
_LINE, _BAND, _CLEAN = "#1f6fb4", "#1f6fb433", "#666666"


def draw(report: "RobustnessReport", example: Pixels, chance: float) -> bytes:
    """Draw accuracy against strength, with Wilson's intervals, as a PNG.

    `example` is one square, (side, side, 3) bytes, shown at each strength; `chance` the accuracy of guessing. A last
    panel compares the means of several corruptions.
    """
    # Imported here: a command that draws nothing need not wait for it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    several = len(report.strengths) > 1
    panels = len(report.strengths) + several
    columns = min(_COLUMNS, panels)
    rows = -(-panels // columns)
    figure = Figure(figsize=(columns * _PANEL[0], rows * _PANEL[1] + 0.5), layout="constrained")
    figure.suptitle(
        f"{report.run}: accuracy on {report.images} validation images, as they are {report.clean:.1%} (dashed;"
        " dotted: guessing), and spoilt; bands are intervals of 95%",
        fontsize=11,
    )
    cells = figure.subfigures(rows, columns, squeeze=False).ravel()
    for cell, (name, found) in zip(cells, report.strengths.items(), strict=False):
        strip, axes = cell.subplots(2, 1, height_ratios=(1, 3.2))
        _draw_examples(strip, name, found, example)
        _draw_accuracy(axes, name, found, report.clean, chance)
    if several:
        _draw_means(cells[panels - 1].subplots(), report)
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(file, format="png", dpi=_DOTS)
    return file.getvalue()


def _draw_examples(axes: Any, name: str, found: "list[Strength]", example: Pixels) -> None:  # noqa: ANN401 - matplotlib's
    device = torch.device("cpu")
    shown = [corrupt(example[None], name, one.strength, torch.Generator().manual_seed(1), device)[0] for one in found]
    framed = [np.pad(picture, ((0, 0), (4, 4), (0, 0)), constant_values=255) for picture in shown]
    axes.imshow(np.concatenate(framed, axis=1), extent=(-0.5, len(found) - 0.5, 0, 1), aspect="auto")
    axes.set_title(name, fontsize=11, fontweight="bold")
    axes.axis("off")


def _draw_accuracy(axes: Any, name: str, found: "list[Strength]", clean: float, chance: float) -> None:  # noqa: ANN401
    at = range(len(found))
    axes.axhline(clean, color=_CLEAN, linestyle="--", linewidth=1)
    axes.axhline(chance, color=_CLEAN, linestyle=":", linewidth=1)
    axes.fill_between(at, [one.low for one in found], [one.high for one in found], color=_BAND, linewidth=0)
    axes.plot(at, [one.accuracy for one in found], color=_LINE, marker="o", markersize=4)
    for position, one in zip(at, found, strict=True):
        above = one.accuracy < 0.5  # noqa: PLR2004 - the half where there is room
        offset = (0, 9 if above else -9)
        axes.annotate(
            f"{one.accuracy:.0%}",
            (position, one.accuracy),
            offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
        )
    axes.set_xlim(-0.5, len(found) - 0.5)
    axes.set_ylim(0, 1.02)
    axes.set_xticks(list(at), [f"{one.strength:g}" for one in found])
    axes.set_xlabel(CORRUPTIONS[name].unit, fontsize=9)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_means(axes: Any, report: "RobustnessReport") -> None:  # noqa: ANN401
    means = sorted(report.corruptions.items(), key=lambda item: item[1])
    bars = axes.barh([name for name, _ in means], [mean for _, mean in means], color=_LINE)
    axes.bar_label(bars, [f"{mean:.0%}" for _, mean in means], padding=3, fontsize=8)
    axes.axvline(report.clean, color=_CLEAN, linestyle="--", linewidth=1)
    axes.set_xlim(0, 1.12)
    axes.set_title("mean over strengths", fontsize=11, fontweight="bold")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
