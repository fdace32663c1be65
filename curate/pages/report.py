"""The page of `curate report`: the dataset and its runs, for whoever asks what there is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate import plots
from curate.pages.evaluation import Plot, with_interval
from curate.pages.page import Page, Section
from curate.pages.pictures import Picture, pictures
from curate.pages.thumbnails import Thumbnails, side_for
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.reporting import Report, Samples, report
from curate.rounds import plot as rounds_plot


@dataclass(frozen=True, slots=True)
class SamplesCard:
    """Pictures of one class."""

    samples: Samples
    pictures: Sequence[Picture]

    @property
    def find(self) -> str:
        """What the filter looks at."""
        return " ".join([self.samples.name, *(p.find for p in self.pictures)]).lower()


def write_report(project: Project, path: Path, progress: Progress = QUIET) -> None:
    """Write the page to `path`. Raises StoreError."""
    report_page(project, progress).write(path)


def report_page(project: Project, progress: Progress = QUIET) -> Page:
    """Make the page, whose pictures are drawn as it is written."""
    found = report(project)
    with project.database.read() as session:
        known = pictures(session, (number for one in found.samples for number in one.ids))
    return Page(found.name, _LEAD, list(_sections(project, found, known, progress)), _figures(found), _HINT)


def _figures(found: Report) -> list[tuple[str, int | str]]:
    labelled = sum(one.stands.labelled for one in found.classes)
    complete = sum(one.stands.labelled >= one.stands.target for one in found.classes)
    figures: list[tuple[str, int | str]] = [
        ("images in use", found.status.keepers),
        ("labelled", labelled),
        ("classes complete", f"{complete} of {len(found.classes)}"),
        ("copies set apart", found.status.duplicates),
    ]
    if found.best is not None:
        figures.append(("accuracy of the best run (95 %)", with_interval(found.best.accuracy)))
    return figures


def _sections(project: Project, found: Report, known: Mapping[int, Picture], progress: Progress) -> Iterator[Section]:
    yield Section("classes", "Classes", _CLASSES, "stand.html", {"classes": found.classes}, len(found.classes))
    if any(one.right.of for one in found.rounds.rounds):
        plot = Plot.of(rounds_plot.draw(found.rounds), "Validation accuracy by labels in the split")
        yield Section("rounds", "Rounds", _ROUNDS, "plot.html", {"plot": plot}, len(found.rounds.rounds))
    if found.best is not None:
        png = plots.confusion_matrix(found.best.confusion, found.best.classes)
        matrix = Plot.of(png, "Confusion matrix: answers by label")
        yield Section("confusion", "What is taken for what", _CONFUSION, "plot.html", {"plot": matrix})
    yield Section("runs", "Runs", _RUNS, "runs.html", {"runs": found.runs}, len(found.runs))
    values = {"sources": found.sources, "licences": found.licences}
    yield Section("origin", "Where they come from", _ORIGIN, "origin.html", values)
    shown = [SamplesCard(one, [known[number] for number in one.ids]) for one in found.samples]
    cards = _drawn(project, shown, progress)
    yield Section("pictures", "Pictures", _PICTURES, "samples.html", {"cards": cards})


def _drawn(project: Project, cards: Sequence[SamplesCard], progress: Progress) -> Iterator[object]:
    """Draw each card's thumbnails, when the page comes to them."""
    shown = sum(len(card.pictures) for card in cards)
    thumbnails = Thumbnails(project.store, side_for(shown))
    with progress.task("drawing the page", shown, "images") as task:
        yield from thumbnails.along(cards, lambda card: card.pictures, task.advance)


_HINT = "class, file name, source or number"
_LEAD = "What the dataset has, where it is from, and how well networks learn it."
_CLASSES = (
    "Images are those in use: each photograph once. The line shows how many of the labels wanted are there. Learned"
    " from and held out: in the present split. Recall is the best run's, with its 95 % interval."
)
_PICTURES = "The first of each class by their content, as good as drawn; always the same while they are there."
_ORIGIN = (
    "Addresses by the source that showed them first, and what became of them; refused is what may not be had or used."
    " Licences are those of the images in use, as their sources say. `curate why`, with an image's number, tells more."
)
_ROUNDS = "Accuracy on the images held out, with its 95 % interval; dashed, what further labels are worth."
_CONFUSION = "Of the best run; `curate evaluate` shows on which pictures."
_RUNS = "The latest first, each on the images that its own split held out."
