"""The rounds as a picture: accuracy with its 95 % interval over labels, and the curve that foresees the next ones."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from curate.rounds.account import Forecast, LoopAccount, RoundReport

_SIZE, _DOTS = (7.0, 4.6), 200
"""Inches, and dots in one: twice what a page shows them at."""
_GRAY, _BLUE, _ORANGE = "#5d5d58", "#0072b2", "#d55e00"


def draw(found: LoopAccount) -> bytes:
    """Draw them as a PNG; the same rounds give the same bytes."""
    # Imported here: a command that draws nothing need not wait for it.
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    out = io.BytesIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        figure = Figure(figsize=_SIZE, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        if found.forecast is not None:
            _draw_forecast(axes, found.forecast)
        _draw_rounds(axes, found.rounds)
        axes.set_title("validation accuracy", loc="left", fontsize=11, fontweight="bold")
        axes.set_xlabel("labels in the split")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False, fontsize=8, loc="upper left")
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(out, format="png", dpi=_DOTS, metadata={"Software": None})
    return out.getvalue()


def _draw_rounds(axes: Any, rounds: Sequence[RoundReport]) -> None:  # noqa: ANN401 - matplotlib's
    held = [one for one in rounds if one.right.of]
    labels, values = [one.used for one in held], [one.validation_accuracy for one in held]
    low, high = [one.right.interval[0] for one in held], [one.right.interval[1] for one in held]
    axes.fill_between(labels, low, high, color=_BLUE, alpha=0.15, linewidth=0)
    # One round alone has no band to be seen, and matplotlib's error bars warn of an array of one.
    axes.vlines(labels, low, high, color=_BLUE, linewidth=1)
    axes.plot(labels, values, label="rounds, 95 %", color=_BLUE, linewidth=1.5, marker="o", markersize=4)


def _draw_forecast(axes: Any, forecast: Forecast) -> None:  # noqa: ANN401 - matplotlib's
    labels = np.linspace(forecast.labels, max(forecast.whole, forecast.labels + forecast.step), 40)
    found = [forecast.curve.at(float(one)) for one in labels]
    low, high = [one.low for one in found], [one.high for one in found]
    axes.fill_between(labels, low, high, color=_ORANGE, alpha=0.15, linewidth=0)
    style = {"color": _ORANGE, "linestyle": "--", "linewidth": 1.5}
    axes.plot(labels, [one.value for one in found], label="what further labels would give, 90 %", **style)
    enough = forecast.labels + forecast.enough.value
    axes.axvline(enough, color=_GRAY, linestyle=":", linewidth=1)
    words = f"{enough:.0f}: within 0.01 of all {forecast.whole}"
    # To its left: on its right the picture may end.
    place = {"xytext": (-3, 0), "xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "right"}
    axes.annotate(words, (enough, 0.02), fontsize=8, color=_GRAY, **place)
