"""What people read of `curate evaluate` and `curate compare`, and their JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from curate.cli.rows import table_of

if TYPE_CHECKING:
    from curate.comparing import Asked, Comparison, Said
    from curate.pages.evaluation import EvaluationReport
    from curate.pages.pictures import Picture
    from curate.share import Share

_PAIRS = 5


def evaluation_data(report: "EvaluationReport") -> dict[str, Any]:
    """Everything that was found.

    `run`; `file`, the page; `files`, the figures; `images`; `accuracy`: {`value`, `low`, `high`}, the last two Wilson's
    95 % interval, as wherever they stand; `classes`: {name: {`images`, `recall`, `recall_low`, `recall_high`,
    `answers` (that name it), `precision` (null of none), `precision_low`, `precision_high`}}; `confused`: [{`label`,
    `answered`, `images`, `wrong`: [{`id`, `path`, `sha256`, `score`}]}], the most frequent and the surest first, `id`
    and `path` null where an image was forgotten; `calibration`: {`before`, `after`, `chance`,
    `temperature`}, expected calibration errors; `outsiders`: {`learned`, `held_out`, `found`}, images of none of the
    classes, null where the run knows none.
    """
    found = report.evaluation
    error = report.evaluation.calibration
    return {
        "run": found.run,
        "file": str(report.file),
        "files": [str(path) for path in report.files],
        "images": found.accuracy.of,
        "accuracy": _share(found.accuracy),
        "classes": {
            one.name: {
                "images": one.recall.of,
                **_named("recall", one.recall),
                "answers": one.precision.of,
                **_named("precision", one.precision),
            }
            for one in found.per_class()
        },
        "confused": [
            {
                "label": pair.label,
                "answered": pair.answered,
                "images": len(pair.rows),
                "wrong": [
                    {**_image(found.sha256[row], report.pictures), "score": float(found.scores[row])}
                    for row in pair.rows
                ],
            }
            for pair in found.confused()
        ],
        "calibration": {**asdict(error), "temperature": found.facts["temperature"]},
        "outsiders": found.facts.get("outsiders") or None,
    }


def evaluated(report: "EvaluationReport") -> RenderableType:
    """Accuracy, one row a class, what is confused most, and where to look."""
    found = report.evaluation
    low, high = found.accuracy.interval
    error = report.evaluation.calibration
    table = table_of("class", "images", "recall", "", "precision", " ", numbers=("images", "recall", "precision"))
    for one in found.per_class():
        table.add_row(Text(one.name), str(one.recall.of), *_cells(one.recall), *_cells(one.precision))
    confused = [f"{pair.label} taken for {pair.answered} ({len(pair.rows)})" for pair in found.confused()]
    more = f", and {len(confused) - _PAIRS} more pairs" if len(confused) > _PAIRS else ""
    right = f"{found.accuracy.hits} of {found.accuracy.of} images right"
    lines = [
        "",
        f"run {found.run}: {right}, accuracy {found.accuracy.value or 0:.3f} ({low:.3f} to {high:.3f}, 95 %)",
        f"calibration error {error.after:.3f}, before the temperature {error.before:.3f}; {error.chance:.3f} is chance",
        *([f"confused most: {', '.join(confused[:_PAIRS])}{more}"] if confused else []),
        f"the page: {report.file}",
    ]
    return Group(table, *(Text(line) for line in lines))


def comparison_data(found: "Comparison", known: "Mapping[str, Picture]", file: Path | None) -> dict[str, Any]:
    """Everything that was found.

    `first`, `second`: the runs; `images` that both were asked; `accuracy`: {`first`, `second`: {`value`, `low`,
    `high`}}, Wilson's 95 % intervals; how many are `both_right`, `both_wrong`, `only_first` and `only_second` right;
    `p_value` of McNemar's exact test; `better`: a run, or null; `verdict`, the same in words; `left_out`:
    {`relabelled`, `learned_from`, `copies`}; `differ`: [{`id`, `path`, `sha256`, `label`, `first`, `second`: {`answer`,
    `score`}}], `id` and `path` null where an image was forgotten; `file`: the page, or null.
    """
    first, second = found.accuracies
    return {
        "first": found.first,
        "second": found.second,
        "images": len(found.asked),
        "accuracy": {"first": _share(first), "second": _share(second)},
        "both_right": found.both_right,
        "both_wrong": found.both_wrong,
        "only_first": len(found.only_first),
        "only_second": len(found.only_second),
        "p_value": found.p_value,
        "better": found.better,
        "verdict": found.verdict,
        "left_out": {"relabelled": found.relabelled, "learned_from": found.learned, "copies": found.copies},
        "differ": [_asked(one, known) for one in found.differing],
        "file": None if file is None else str(file),
    }


def compared(found: "Comparison", file: Path | None) -> RenderableType:
    """The verdict, then the counts it comes from."""
    first, second = found.accuracies
    table = table_of("run", "accuracy", "", "right alone", numbers=("accuracy", "right alone"))
    table.add_row(Text(found.first), *_cells(first, 3), str(len(found.only_first)))
    table.add_row(Text(found.second), *_cells(second, 3), str(len(found.only_second)))
    left_out = {
        "whose labels differ": found.relabelled,
        "that a run learned from, or from a copy of": found.learned,
        "that are copies of others": found.copies,
    }
    alike = f"{found.both_right} both right, {found.both_wrong} both wrong"
    lines = [
        f"on {len(found.asked)} images that both held out: {alike}",
        *(f"left out: {count} images {why}" for why, count in left_out.items() if count),
        found.verdict,
        *([f"the page: {file}"] if file else []),
    ]
    return Group(table, *(Text(line) for line in lines))


def _share(found: "Share") -> dict[str, float | None]:
    low, high = found.interval
    return {"value": found.value, "low": low, "high": high}


def _named(name: str, found: "Share") -> dict[str, float | None]:
    low, high = found.interval
    return {name: found.value, f"{name}_low": low, f"{name}_high": high}


def _cells(found: "Share", digits: int = 2) -> tuple[str, str]:
    low, high = found.interval
    if found.value is None:
        return "none", ""
    return f"{found.value:.{digits}f}", f"{low:.{digits}f} to {high:.{digits}f}"


def _image(sha256: str, known: "Mapping[str, Picture]") -> dict[str, Any]:
    picture = known.get(sha256)
    return {
        "id": picture.id if picture else None,
        "path": f"images/{picture.relative_path}" if picture else None,
        "sha256": sha256,
    }


def _asked(one: "Asked", known: "Mapping[str, Picture]") -> dict[str, Any]:
    return {
        **_image(one.sha256, known),
        "label": one.label,
        "first": _said(one.first),
        "second": _said(one.second),
    }


def _said(one: "Said") -> dict[str, Any]:
    return {"answer": one.answer, "score": one.score}
