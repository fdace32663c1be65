"""Learning curves of strategies, and how far each is ahead of random, with bands of 95 % over seeds."""

import io
import warnings
from pathlib import Path
from typing import Any

from curate.simulation.summary import ALLOWED, Curves, Mean, accuracies, against_random, mean_of
from curate.strategies import RANDOM
from db.errors import ConfigError

_SIZE, _DOTS = (11.0, 4.8), 130
"""Inches, and dots in one."""
_GRAY = "#5d5d58"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a5195", "#8c6d31")
"""Okabe and Ito's, told apart by those who see no red or green."""
_MARKERS = "os^Dv<>P"


def check(output: Path | None) -> None:
    """Raise ConfigError for a file that no plot can go into."""
    if output is not None and (output.suffix.lower() != ".png" or output.is_dir()):
        raise ConfigError(f"cannot draw into {output}; name a file that ends in .png")


def draw(curves: Curves, whole: float, pool: int, validation: int) -> bytes:
    """Draw them as a PNG; the same curves give the same bytes."""
    # Imported here: a command that draws nothing need not wait for it.
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    out = io.BytesIO()
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Attempt to set non-positive")
        mpl.rcdefaults()
        figure = Figure(figsize=_SIZE, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        _draw_accuracies(left, curves, whole, pool)
        _draw_differences(right, curves)
        seeds = len(curves[RANDOM])
        figure.suptitle(
            f"{seeds} seed{'s' if seeds > 1 else ''}, {validation} validation images; bands: 95 % over seeds",
            fontsize=9,
            color=_GRAY,
        )
        figure.savefig(out, format="png", dpi=_DOTS, metadata={"Software": None})
    return out.getvalue()


def _draw_accuracies(axes: Any, curves: Curves, whole: float, pool: int) -> None:  # noqa: ANN401 - matplotlib's
    for number, (name, by_seed) in enumerate(curves.items()):
        labels = next(iter(by_seed.values())).labels
        _draw_line(axes, labels, [mean_of(accuracies(by_seed, place)) for place in range(len(labels))], name, number)
    axes.axhline(whole - ALLOWED, color=_GRAY, linestyle="--", linewidth=1)
    text = f"all {pool} labels: {whole:.3f}, less {ALLOWED:g}"
    axes.annotate(text, (0.02, whole - ALLOWED), (0, 3), ("axes fraction", "data"), "offset points", fontsize=8)
    axes.set_title("accuracy", loc="left", fontsize=11, fontweight="bold")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    _finish(axes)


def _draw_differences(axes: Any, curves: Curves) -> None:  # noqa: ANN401 - matplotlib's
    for number, (name, by_seed) in enumerate(curves.items()):
        if name != RANDOM:
            labels = next(iter(by_seed.values())).labels
            found = [against_random(curves, name, place) for place in range(len(labels))]
            _draw_line(axes, labels, found, name, number)
    axes.axhline(0, color=_GRAY, linewidth=1)
    axes.set_title("accuracy less that of random, seed by seed", loc="left", fontsize=11, fontweight="bold")
    _finish(axes)


def _draw_line(axes: Any, labels: tuple[int, ...], means: list[Mean], name: str, number: int) -> None:  # noqa: ANN401
    colour = _GRAY if name == RANDOM else _COLOURS[number % len(_COLOURS)]
    values = [mean.value for mean in means]
    if means[0].spread is not None:
        low = [mean.value - (mean.spread or 0) for mean in means]
        high = [mean.value + (mean.spread or 0) for mean in means]
        axes.fill_between(labels, low, high, color=colour, alpha=0.1, linewidth=0)
    marker = _MARKERS[number % len(_MARKERS)]
    every = max(1, len(labels) // 10)
    axes.plot(labels, values, color=colour, label=name, linewidth=1.5, marker=marker, markersize=4, markevery=every)


def _finish(axes: Any) -> None:  # noqa: ANN401 - matplotlib's
    axes.set_xlabel("labels")
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
