"""What people read of rounds of labelling and training, and its JSON."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from curate.cli.rows import table_of
from curate.cli.show import share

if TYPE_CHECKING:
    from curate.rounds.account import ClassGain, Forecast, LoopAccount, RoundReport
    from curate.rounds.curve import Estimate


def loop_data(found: "LoopAccount", rounds: "Sequence[RoundReport] | None" = None) -> dict[str, Any]:
    """All of it, with these rounds or else all. Shares are {`hits`, `of`, `value`, `low`, `high`}."""
    return {
        "rounds": [_round_data(one) for one in (found.rounds if rounds is None else rounds)],
        "forecast": None if found.forecast is None else _forecast_data(found.forecast),
        "rounds_missing": found.rounds_missing,
        "classes": [_class_data(one) for one in found.classes],
    }


def _round_data(one: "RoundReport") -> dict[str, Any]:
    low, high = one.right.interval
    return {
        "round": one.round,
        "labelled": one.labelled,
        "complete": one.complete,
        "run": one.run,
        "validation_accuracy": one.validation_accuracy,
        "prelabels_accepted": one.prelabels_accepted,
        "pushed": one.pushed,
        "snapshot": one.snapshot,
        "learned": one.learned,
        "validation_images": one.right.of,
        "interval": [low, high],
        "recall": {name: recall.as_dict() for name, recall in one.recall.items()},
        "prelabels_shown": one.prelabels_shown,
        "waited_seconds": one.waited_seconds,
        "labelling_seconds": one.labelling_seconds,
        "training_seconds": one.training_seconds,
        "strategy": one.strategy,
        "crawled": one.crawled,
    }


def _forecast_data(one: "Forecast") -> dict[str, Any]:
    return {
        "rounds": one.rounds,
        "labels": one.labels,
        "next": {"labels": one.step, "gain": _estimate_data(one.gain)},
        "whole": {"labels": one.whole, "accuracy": _estimate_data(one.whole_accuracy)},
        "enough": {"labels": _estimate_data(one.enough)},
        "ceiling": _estimate_data(one.ceiling),
    }


def _estimate_data(one: "Estimate") -> dict[str, float]:
    return {"value": one.value, "low": one.low, "high": one.high}


def _class_data(one: "ClassGain") -> dict[str, Any]:
    rise = None if one.rise is None else one.rise._asdict()
    return {
        "class": one.name,
        "recall": one.recall.as_dict(),
        "rise": rise,
        "lacks": one.lacks,
        "pays": one.pays,
    }


def loop(found: "LoopAccount", rounds: "Sequence[RoundReport] | None" = None) -> RenderableType:
    """One row a round, what the next labels are worth, and one row a class."""
    shown = found.rounds if rounds is None else rounds
    if not shown:
        return Text("no round yet: `curate loop` and `curate label watch` train as labels come in")
    parts: list[RenderableType] = [_rounds(shown), "", Text("\n".join(_forecast(found)))]
    if found.classes:
        parts += ["", _classes(found.classes)]
    return Group(*parts)


def line(one: "RoundReport") -> str:
    """What a round came to, as it ends."""
    low, high = one.right.interval
    accuracy = f"accuracy {one.validation_accuracy:.3f} ({low:.3f} to {high:.3f})"
    return f"round {one.round}: {one.labelled} labels, {accuracy}; {one.pushed} images handed out"


def _rounds(rounds: "Sequence[RoundReport]") -> RenderableType:
    numbers = ("round", "labelled", "complete", "accuracy (95 %)", "pre-labels kept", "handed out", "waited", "trained")
    table = table_of(*numbers, "by", "run", numbers=numbers)
    for one in rounds:
        low, high = one.right.interval
        table.add_row(
            str(one.round),
            str(one.labelled),
            str(one.complete),
            f"{one.validation_accuracy:.3f} ({low:.3f} to {high:.3f})",
            share(one.prelabels_accepted),
            str(one.pushed),
            _time(one.waited_seconds),
            _time(one.training_seconds),
            Text(one.strategy),
            Text(one.run),
        )
    return table


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _forecast(found: "LoopAccount") -> Iterator[str]:
    one = found.forecast
    if one is None:
        more = f"{found.rounds_missing} more round{'s' if found.rounds_missing > 1 else ''}"
        yield f"what further labels are worth can be told after {more} with this network and these classes"
        return
    worth = _said(one.gain, "+.3f")
    yield f"the next {one.step} labels are worth about {worth}, 9 times in 10; by {one.rounds} rounds"
    if one.labels >= one.whole:
        yield "every class has its target"
        return
    labels = f"{one.enough.value:.0f} ({one.enough.low:.0f} to {one.enough.high:.0f})"
    yield (
        f"about {labels} more come within 0.01 of what all {one.whole} would give: {_said(one.whole_accuracy, '.3f')};"
        f" {one.labels} are in the split"
    )


def _said(one: "Estimate", form: str) -> str:
    return f"{one.value:{form}} ({one.low:{form}} to {one.high:{form}})"


def _classes(classes: "Sequence[ClassGain]") -> RenderableType:
    numbers = ("found", "rose of late", "lacks")
    table = table_of("class", *numbers, "", numbers=numbers)
    for one in classes:
        low, high = one.recall.interval
        recall = "" if one.recall.value is None else f"{one.recall.value:.2f} ({low:.2f} to {high:.2f})"
        rise = "" if one.rise is None else f"{one.rise.value:+.2f} ({one.rise.low:+.2f} to {one.rise.high:+.2f})"
        table.add_row(Text(one.name), recall, rise, str(one.lacks), "still pays" if one.pays else "")
    return table
