"""What people read of a split, of the proof that it does not leak, and of its folds; and their JSON."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from curate.cli.rows import table_of

if TYPE_CHECKING:
    from curate.split import Conflict, Left, SplitReport
    from curate.split.folds import Folded
    from curate.split.proof import Pair, Proof

_SHOWN = 5
_REASONS = {
    "forgotten": "it is forgotten",
    "set_aside": "it is set aside",
    "copy": "image {} stands for it and its copies",
    "conflict": "what is said of it and its copies differs",
    "unlabelled": "its label was withdrawn",
    "relabelled": "it is labelled {} now",
    "fewer": "fewer images are held out",
}


def split_data(report: "SplitReport") -> dict[str, Any]:
    """The report, with the word that people use for a class."""
    left = [{"image": one.image, "class": one.label, "reason": one.reason, "detail": one.detail} for one in report.left]
    return asdict(report) | {"left": left}


def split(report: "SplitReport") -> RenderableType:
    """One row a class, then conflicts, then what validation lost."""
    columns = ("train", "validation", "reserve", "missing")
    table = table_of("class", *columns, numbers=columns)
    for name, c in report.classes.items():
        table.add_row(Text(name), str(c.train), str(c.validation), str(c.reserve), str(c.missing or ""))
    none = report.outsiders
    if none.train or none.validation:
        table.add_row(Text("none of these", "dim"), str(none.train), str(none.validation), str(none.reserve), "")
    lines = [f"snapshot {report.snapshot} ({report.content_sha256[:12]})"]
    if report.short:
        lines.append(f"short: {', '.join(report.short)}")
    lines += [_conflict(conflict) for conflict in report.conflicts]
    lines += _left(report.left)
    return Group(table, "", *(Text(line) for line in lines))


def _conflict(conflict: "Conflict") -> str:
    said = "; ".join(f"{name}: image {', '.join(map(str, ids))}" for name, ids in conflict.labels.items())
    return f"left out, the labels of {'exact copies' if conflict.exact else 'copies'} differ: {said}"


def _left(left: Sequence["Left"]) -> list[str]:
    if not left:
        return []
    lines = [f"validated on in the split before, and not in this one: {len(left)}"]
    lines += [f"  image {one.image} ({one.label}): {_REASONS[one.reason].format(one.detail)}" for one in left[:_SHOWN]]
    return lines + ([f"  … and {len(left) - _SHOWN} more (--json lists all)"] if len(left) > _SHOWN else [])


def proof_data(proof: "Proof") -> dict[str, Any]:
    """The nearest pair of each class, and the number of leaks; the file lists the leaks."""
    classes = {
        name: asdict(nearest.pair) | {"least_distance": nearest.least_distance, "looked_at": nearest.looked_at}
        for name, nearest in proof.classes.items()
    }
    return {"file": str(proof.file), "classes": classes, "leaks": len(proof.leaks)}


def proof(proof: "Proof") -> RenderableType:
    """One row a class; then the leaks, and what to do about them."""
    numbers = ("validation", "train", "score", "bits")
    table = table_of("class", "validation", "train", "of", "score", "bits", "", numbers=numbers)
    for name, nearest in proof.classes.items():
        pair = nearest.pair
        ids = (str(pair.validation), str(pair.train), Text(pair.train_label))
        table.add_row(Text(name), *ids, f"{pair.score:.3f}", str(pair.distance), _verdict(pair))
    looked_at = sum(nearest.looked_at for nearest in proof.classes.values())
    lines = [f"the nearest of {looked_at} pairs across the split that were looked at; all of it in {proof.file}"]
    lines += _leaks(proof.leaks)
    return Group("", table, "", *(Text(line) for line in lines))


def _verdict(pair: "Pair") -> str:
    if pair.told_apart:
        return "told apart by a person"
    return f"{'the same photograph' if pair.same else 'not the same'}: {pair.reason}"


def _leaks(leaks: Sequence["Pair"]) -> list[str]:
    if not leaks:
        return ["no leak: no pair shows the same photograph"]
    lines = [f"the same photograph on both sides: {len(leaks)} of these pairs"]
    lines += [f"  train image {pair.train}, validation image {pair.validation}" for pair in leaks[:_SHOWN]]
    if len(leaks) > _SHOWN:
        lines.append(f"  … and {len(leaks) - _SHOWN} more")
    return [*lines, "run `curate dedup` and split again; what it does not join, `curate dedup --join A B` does"]


def folds_data(dealt: Iterable["Folded"]) -> list[dict[str, Any]]:
    """One object an image."""
    return [{"id": one.id, "sha256": one.sha256, "class": one.label, "fold": one.fold} for one in dealt]


def folds(dealt: Iterable["Folded"]) -> RenderableType:
    """One row a class, one column a fold."""
    counts = Counter((one.label, one.fold) for one in dealt)
    numbers = [f"fold {fold}" for fold in sorted({fold for _, fold in counts})]
    table = table_of("class", *numbers, numbers=numbers)
    for name in sorted({name for name, _ in counts}):
        table.add_row(Text(name), *(str(counts[name, fold]) for fold in range(len(numbers))))
    return Group("", table, "", Text("--json says which image is in which fold"))
