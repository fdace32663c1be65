"""What people read on stdout, and the JSON where it is not simply the report."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.text import Text

from curate.cli import show_crawl
from curate.cli.rows import table_of

if TYPE_CHECKING:
    from pathlib import Path

    from curate.dedup.standing import DedupReport
    from curate.demo.story import DemoReport
    from curate.doctor import Problem
    from curate.ingest.folder import ImportReport
    from curate.pages.duplicates import ReviewReport
    from curate.predicting import PredictReport
    from curate.restoring import RestoreReport
    from curate.seeds import SeedsReport
    from curate.select import Choice
    from curate.status import Status
    from curate.training import TrainReport

_SHOWN = 10
_BAR_WIDTH = 30


def status(found: "Status") -> RenderableType:
    """One bar a class, then what is left to do."""
    table = table_of("class", "images", "labelled", "", numbers=("images", "labelled"))
    for name, counts in found.classes.items():
        bar = ProgressBar(total=counts.target, completed=min(counts.labelled, counts.target), width=_BAR_WIDTH)
        table.add_row(Text(name), str(counts.images), f"{counts.labelled}/{counts.target}", bar)
    lines = [
        f"{found.images} images, {found.duplicates} of them near-duplicates of others, {found.set_aside} set aside;"
        f" {found.unlabelled} wait for a label" + (f", in conflict: {found.conflicts}" if found.conflicts else ""),
    ]
    if found.others:
        said = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in sorted(found.others.items()))
        lines.append(f"people said of others: {said}")
    if found.accepted:
        lines.append(f"{found.accepted} more are as a run says, accepted unseen")
    if found.candidates:
        lines.append("addresses: " + ", ".join(f"{state} {n}" for state, n in sorted(found.candidates.items())))
    failed = sum(run.state == "failed" for run in found.runs)
    for run in (run for run in found.runs if run.state != "failed"):
        accuracy = "" if run.validation_accuracy is None else f", validation accuracy {run.validation_accuracy:.3f}"
        mark = "  ← answers now" if run.best else ""
        # Nobody knows here whether it is being trained or was stopped.
        state = "not finished" if run.state == "running" else run.state
        lines.append(f"run {run.name}: {state} on split {run.snapshot}{accuracy}{mark}")
    if failed:
        lines.append(f"runs that failed: {failed}")
    return Group(table, "", *(Text(line) for line in lines))


def import_data(report: "ImportReport") -> dict[str, Any]:
    """Counts that add up to the files, and each file that failed."""
    return {
        "stored": report.stored,
        "duplicates": report.duplicates,
        "failed": dict(report.failed),
        "labelled": len(report.labelled_ids),
        "failures": [{"path": str(path), "reason": r.reason.value, "detail": r.detail} for path, r in report.failures],
    }


def imported(report: "ImportReport") -> RenderableType:
    """Counts, and the first files that failed."""
    counts = f"{report.stored} images stored, {report.duplicates} exact copies, {show_crawl.failed(report.failed)}"
    lines = [f"{counts}; {len(report.labelled_ids)} labelled"]
    lines += [f"  {path}: {refusal}" for path, refusal in report.failures[:_SHOWN]]
    if len(report.failures) > _SHOWN:
        lines.append(f"  … and {len(report.failures) - _SHOWN} more (--json lists all)")
    return Text("\n".join(lines))


def duplicates(report: "DedupReport", page: "ReviewReport | None" = None) -> RenderableType:
    """Counts of groups, and where to look at them."""
    extra = sum(len(group.members) - 1 for group in report.groups)
    counts = (
        f"{report.images} images: {len(report.groups)} groups of the same photograph, {extra} images stand behind"
        f" their group's keeper ({report.proposed} likely pairs were looked at)"
    )
    lines = [counts]
    if report.exact_copies:
        lines.append(f"{report.exact_copies} addresses gave bytes that were here already; these are stored once")
    if report.conflicts:
        keepers = ", ".join(str(conflict.keeper) for conflict in report.conflicts[:_SHOWN])
        more = f" and {len(report.conflicts) - _SHOWN} more" if len(report.conflicts) > _SHOWN else ""
        lines.append(f"labels of copies differ, and no person has decided: image {keepers}{more}; see `curate why`")
    if page is not None:
        near = "1 near miss" if page.near_misses == 1 else f"{page.near_misses} near misses"
        lines.append(f"the page, with {near}: {page.file}")
    return Text("\n".join(lines))


def train_data(report: "TrainReport") -> dict[str, Any]:
    """What a run came to.

    `outsiders`: {`learned`, `held_out`, `found`}, images of none of the classes; null where none is known, or nothing
    can be told by so few images held out.
    """
    result = report.result
    return {
        "run": report.run,
        "snapshot": report.snapshot,
        "best": {
            "epoch": result.best_epoch,
            "validation_accuracy": result.validation_accuracy,
            "interval": result.trust.get("accuracy_interval"),
        },
        "calibration_error": {"before": result.trust.get("ece_before"), "after": result.trust.get("ece_after")},
        "validation_images": result.validation_images,
        "outsiders": result.outsiders or None,
        "epochs": result.epochs,
        "images_per_second": round(result.images_per_second, 1),
        "resumed": report.resumed,
    }


def trained(report: "TrainReport") -> RenderableType:
    """How often it is right, how far its scores can be believed, and what it tells of images of no class."""
    result, found = report.result, report.result.trust
    interval = " ({:.3f}-{:.3f} at 95 %)".format(*found["accuracy_interval"]) if found else ""
    accuracy = f"validation accuracy {result.validation_accuracy:.3f}{interval} on {result.validation_images} images"
    speed = f"epoch {result.best_epoch} of {result.epochs}, {result.images_per_second:.0f} images/s"
    lines = [f"run {report.run}: {accuracy} ({speed})"]
    if found:
        lines.append(
            f"calibration error {found['ece_after']:.3f}, before temperature scaling {found['ece_before']:.3f};"
            f" {found['ece_chance']:.3f} would be chance on so many images"
        )
    if none := result.outsiders:
        told = f"; {none['found']} of {none['held_out']} held out are told as such" if none["held_out"] else ""
        lines.append(f"learned from {none['learned']} images of none of the classes{told}")
    return Text("\n".join(lines))


def seeds_data(report: "SeedsReport") -> dict[str, Any]:
    """The best run as `train_data` gives it, and beside it what all came to."""
    runs = [
        {"seed": seed, "run": one.run, "validation_accuracy": one.result.validation_accuracy}
        for seed, one in report.runs
    ]
    return train_data(report.best) | {"seeds": runs, "mean": report.mean, "deviation": report.deviation}


def trained_seeds(report: "SeedsReport") -> RenderableType:
    """A line a seed, and what they come to."""
    lines = [Text(f"seed {seed}: run {one.run}, {one.result.validation_accuracy:.3f}") for seed, one in report.runs]
    spread = f", standard deviation {report.deviation:.3f}" if report.deviation is not None else ""
    return Group(*lines, Text(f"mean accuracy {report.mean:.3f}{spread} over {len(report.runs)} seeds"))


def predictions(report: "PredictReport") -> RenderableType:
    """One row a picture."""
    table = table_of("picture", "label", "score", "", numbers=("score",), prose=("",))
    for p in report.predictions:
        said = f"none of these, nearest {p.nearest} ({p.score:.2f})" if p.outside else ""
        label, score = ("", "") if p.outside else (p.label, f"{p.score:.3f}")
        table.add_row(Text(p.path), Text(label), score, Text(said))
    return Group(table, *(Text(f"{path}: {refusal}") for path, refusal in report.failures))


def choices(found: Sequence["Choice"]) -> RenderableType:
    """One row an image."""
    if not found:
        return Text("no image waits for a label; `curate crawl` and `curate import` bring more")
    table = table_of("image", "why", "file", numbers=("image",), prose=("why",))
    for choice in found:
        table.add_row(str(choice.id), Text(choice.why), Text(choice.path))
    return table


def share(value: float | None) -> str:
    """A percentage, or nothing."""
    return "" if value is None else f"{value:.0%}"


def demo(report: "DemoReport", folder: "Path") -> RenderableType:
    """One row a round, then where everything lies."""
    numbers = ("round", "labelled", "classes complete", "validation accuracy", "pre-labels accepted")
    table = table_of(*numbers, numbers=numbers)
    for one in report.rounds:
        accuracy, accepted = f"{one.validation_accuracy:.3f}", share(one.prelabels_accepted)
        table.add_row(str(one.round), str(one.labelled), str(one.classes_complete), accuracy, accepted)
    lines = [
        f"validation accuracy: on {report.held_out} drawings that nobody labelled, the same in every round",
        f"{folder}/images: what was crawled; {folder}/runs: the trained networks; {folder}/held-out: those drawings",
        f"look around: curate status --project {folder}",
        f"label on:    curate label start --project {folder} && curate label open --project {folder}",
    ]
    return Group(
        show_crawl.crawl(report.crawl),
        f"{report.duplicates} near-duplicates taken out",
        "",
        table,
        "",
        *map(Text, lines),
    )


def problems(found: Sequence["Problem"]) -> RenderableType:
    """One line a problem."""
    if not found:
        return Text("no problems: every row has its file, every file its row and its hash")
    return Text("\n".join(f"{p.kind}: {p.subject}; {'repaired' if p.repaired else p.advice}" for p in found))


def restored_data(found: "RestoreReport") -> dict[str, Any]:
    """What is in place of the database."""
    kept = None if found.kept is None else str(found.kept)
    counts = {"images": found.newer, "lost": found.lost, "forgotten": found.forgotten}
    return {"restored": str(found.restored), "kept": kept, **counts}


def restored(found: "RestoreReport") -> RenderableType:
    """The same in words, with what the copy does not have."""
    lines = [f"{found.restored} is in place" + (f"; what was there is in {found.kept}" if found.kept else "")]
    if found.newer:
        lines.append(
            f"{found.newer} images came in after that copy: `curate import images` takes them in again, as new ones,"
            " without where they were found"
        )
    if found.lost:
        lines.append(f"{found.lost} images of the copy have no file any more: `curate doctor` lists them")
    if found.forgotten:
        lines.append(f"{found.forgotten} images that were forgotten after it are forgotten again")
    if found.forgotten is None:
        lines.append("what was forgotten after it is back, for no old database can be read: forget it again")
    lines.append("answers given since come in by `curate label pull --full`, to images that came in since as well")
    return Text("\n".join(lines))
