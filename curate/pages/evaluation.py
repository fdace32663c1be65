"""The page of `curate evaluate`: how good a run is, where it errs, and on which pictures."""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from curate import plots
from curate.evaluating import ClassResult, Confused, Evaluation, evaluation
from curate.pages.page import Page, Section
from curate.pages.pictures import Picture, pictures_by_hash
from curate.pages.thumbnails import Shown, Thumbnails, data_address, side_for
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.runs import REPORT, SHEET
from curate.share import Share
from db.files import write_all_atomically
from db.store import digest

_MOST_PAIRS, _MOST_PICTURES = 40, 24
"""That the page shows, and of each pair; `--json` lists all."""
_SHEET_ROWS, _SHEET_COLUMNS = 6, 6
_SHEET_SIDE = 200


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """What was found of a run, and the files that show it."""

    evaluation: Evaluation
    file: Path
    """The page."""
    files: Sequence[Path]
    """The figures, PNG."""
    pictures: Mapping[str, Picture]
    """Images that were answered wrongly, by SHA-256; those that were forgotten since are not among them."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure within a page."""

    address: str
    alt: str
    width: int
    """Pixels that it takes on the page: half of those that it has."""
    height: int

    @classmethod
    def of(cls, png: bytes, alt: str) -> "Plot":
        """Make it of a PNG file, whose header has its size."""
        width, height = struct.unpack(">II", png[16:24])
        return cls(data_address(png, "image/png"), alt, width // 2, height // 2)


@dataclass(frozen=True, slots=True)
class Wrong:
    """An image that was answered wrongly; `picture` is None where it was forgotten since."""

    sha256: str
    picture: Picture | None
    score: float
    label_score: float


@dataclass(frozen=True, slots=True)
class ConfusedCard:
    """A pair of classes, and the pictures on which one was taken for the other."""

    label: str
    answered: str
    wrong: Sequence[Wrong]
    more: int
    """Pictures beyond those shown."""
    of: int
    """Images of the label."""

    @property
    def pictures(self) -> Sequence[Picture]:
        """What can be shown."""
        return [one.picture for one in self.wrong if one.picture is not None]

    @property
    def find(self) -> str:
        """What the filter looks at."""
        return " ".join([self.label, self.answered, *(p.find for p in self.pictures)]).lower()


def write_evaluation(
    project: Project, run: str | None = None, path: Path | None = None, progress: Progress = QUIET
) -> EvaluationReport:
    """Write a run's figures into its folder, and its page there or at `path`.

    Raises DatasetError without such a run, WeightsError where its answers are gone, and StoreError.
    """
    found = evaluation(project, run)
    folder = project.runs / found.run
    confused = found.confused()
    with project.database.read() as session:
        known = pictures_by_hash(session, (found.sha256[row] for pair in confused for row in pair.rows))
    drawn = _figures(found)
    drawn[SHEET] = plots.sheet(_sheet(found, confused, known, Thumbnails(project.store, _SHEET_SIDE)))
    write_all_atomically({folder / name: png for name, png in drawn.items()})
    file = path or folder / REPORT
    cards = [_card(found, pair, known) for pair in confused[:_MOST_PAIRS]]
    shown = sum(len(card.pictures) for card in cards)
    thumbnails = Thumbnails(project.store, side_for(shown))
    with progress.task("drawing the page", shown, "images") as task:
        pairs = thumbnails.along(cards, lambda card: card.pictures, task.advance)
        _page(found, drawn, pairs, len(confused), _made(found, folder)).write(file)
    return EvaluationReport(found, file, [folder / name for name in drawn], known)


def _figures(found: Evaluation) -> dict[str, bytes]:
    drawn, error = {}, found.calibration
    if found.epochs:
        drawn["curves.png"] = plots.curves(found.epochs, found.facts["best_epoch"])
    drawn["confusion.png"] = plots.confusion_matrix(found.confusion, found.classes)
    drawn["reliability.png"] = plots.reliability(
        *(
            plots.Believed(f"{name} (error {value:.3f})", scores, found.bins(scores))
            for name, value, scores in (
                ("before the temperature", error.before, found.raw_scores),
                ("after", error.after, found.scores),
            )
        )
    )
    return drawn


def _sheet(
    found: Evaluation, confused: Sequence[Confused], known: Mapping[str, Picture], thumbnails: Thumbnails
) -> list[plots.Row]:
    rows = []
    for pair in confused[:_SHEET_ROWS]:
        cells = []
        for row in pair.rows[:_SHEET_COLUMNS]:
            picture = known.get(found.sha256[row])
            small = thumbnails.small(picture) if picture else None
            number = f"image {picture.id}" if picture else "forgotten"
            cells.append(plots.Cell(small, f"{number}: {found.scores[row]:.2f} against {found.label_scores[row]:.2f}"))
        more = len(pair.rows) - len(cells)
        count = f"{len(pair.rows)}" + (f", {more} of them not shown" if more else "")
        rows.append(plots.Row(f"{pair.label} taken for {pair.answered}: {count}", cells))
    return rows


def _card(found: Evaluation, pair: Confused, known: Mapping[str, Picture]) -> ConfusedCard:
    rows = pair.rows[:_MOST_PICTURES]
    wrong = [
        Wrong(found.sha256[r], known.get(found.sha256[r]), float(found.scores[r]), float(found.label_scores[r]))
        for r in rows
    ]
    of = int((found.labels == found.classes.index(pair.label)).sum())
    return ConfusedCard(pair.label, pair.answered, wrong, len(pair.rows) - len(rows), of)


def _page(
    found: Evaluation,
    drawn: Mapping[str, bytes],
    pairs: Iterator[tuple[ConfusedCard, Shown]],
    count: int,
    made: Sequence[tuple[str, Mapping[str, Any], bool]],
) -> Page:
    error = found.calibration
    wrong = found.accuracy.of - found.accuracy.hits
    figures: list[tuple[str, int | str]] = [
        ("images held out", found.accuracy.of),
        ("accuracy (95 % interval)", with_interval(found.accuracy)),
        ("wrong answers", wrong),
        ("calibration error", f"{error.after:.3f}"),
        ("images a second in training", f"{found.facts['images_per_second']:.1f}"),
    ]
    if (none := found.facts.get("outsiders")) and none["held_out"]:
        told = with_interval(Share(none["found"], none["held_out"]))
        figures.insert(4, ("of no class, and told as such", told))
    matrix = Plot.of(drawn["confusion.png"], "Confusion matrix: answers by label")
    trust = Plot.of(drawn["reliability.png"], "Reliability diagram: share of right answers by score")
    sections = [
        Section("classes", "Classes", _CLASSES, "classes.html", {"plot": matrix, "classes": _worst_first(found)}),
        Section(
            "confused",
            "Confused pairs",
            _CONFUSED,
            "confused.html",
            {"cards": pairs, "more": max(0, count - _MOST_PAIRS)},
            count,
        ),
        Section(
            "calibration",
            "Calibration",
            _CALIBRATION.format(error.before, error.after, error.chance),
            "plot.html",
            {"plot": trust},
        ),
        Section("made", "How it was made", _MADE, "facts.html", {"groups": made}),
    ]
    if "curves.png" in drawn:
        plot = Plot.of(drawn["curves.png"], "Learning curves: loss and accuracy by epoch")
        sections.insert(2, Section("curves", "Learning curves", _CURVES, "plot.html", {"plot": plot}))
    return Page(f"Run {found.run}", _LEAD, sections, figures, "class, file name, source or number")


_LEAD = (
    "What the run answers on the images that were held out from it. Intervals are Wilson's, 95 %. The best epoch, and"
    " what answers, were chosen on these same images, which flatters it a little."
)
_CLASSES = (
    "Recall: how many images of a class are found. Precision: how many answers that name it are right. The class of"
    " which most is missed comes first; lines show where the true share may lie."
)
_CONFUSED = (
    "What was taken for what, the most frequent first. Of each pair the surest answers come first: where the network is"
    " sure, look whether it is the label that is wrong: `curate why`, with the image's number, tells who gave it."
)
_CALIBRATION = (
    "Of answers with a score of 0.8, eight in ten should be right. The mean distance from that, over bins of equally"
    " many answers, is {:.3f} as the network answers and {:.3f} once its outputs are divided by the temperature, fitted"
    " on four fifths of these images and judged on the fifth, in turn. {:.3f} would be chance on so few."
)
_CURVES = (
    "The loss in training is that of altered pictures and softened labels, so it may lie above that of validation. The"
    " dashed line is the epoch whose weights were kept. Epochs are judged by the last layer, without mirror images."
)
_MADE = "The same images, options and program on the same kind of processor give the same weights."


def with_interval(share: Share) -> str:
    """A share as a page shows it."""
    low, high = share.interval
    return "none" if share.value is None else f"{share.value:.3f} ({low:.3f} to {high:.3f})"


def _worst_first(found: Evaluation) -> list[ClassResult]:
    def place(one: ClassResult) -> tuple[float, str]:
        return (math.inf if one.recall.value is None else one.recall.value, one.name)

    return sorted(found.per_class(), key=place)


def _made(found: Evaluation, folder: Path) -> list[tuple[str, dict[str, Any], bool]]:
    """What a person needs to make the run again, or to know it: lists, and whether their values are long."""
    facts, options = found.facts, found.facts["options"]
    init = options["init"]
    told = {
        "network": options["arch"],
        # Where the file lay is this machine's business; a page travels.
        "first weights": init if init in {"imagenet", "none"} else PurePath(init).name,
        "side of the pictures": f"{options['size']} pixels",
        "seed": options["seed"],
        "epochs": f"{facts['epochs']} of at most {options['epochs']}; the best is {facts['best_epoch']}",
        "answered by": _answered_by(facts),
        "temperature": f"{facts['temperature']:.3f}",
        "computed in": "bfloat16" if facts["bfloat16"] else "float32",
    }
    recipe = {name: _plain(value) for name, value in options["recipe"].items()}
    hashes = {
        "SHA-256 of model.safetensors": facts["weights_sha256"],
        "SHA-256 of manifest.csv": digest(folder / "manifest.csv"),
    }
    return [("Options", told, False), (f"Recipe {recipe.pop('name')}", recipe, False), ("Files", hashes, True)]


def _answered_by(facts: dict[str, Any]) -> str:
    if not facts.get("depths"):
        return "the last layer"
    return f"several depths; the last layer alone has an accuracy of {facts['last_layer_accuracy']:.3f}"


def _plain(value: Any) -> str:  # noqa: ANN401 - whatever a recipe may say
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return "none" if value is None else str(value)
