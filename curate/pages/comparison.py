"""The page of `curate compare`: the pictures on which two runs differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.comparing import Asked, Comparison
from curate.pages.evaluation import with_interval
from curate.pages.page import Page, Section
from curate.pages.pictures import Picture
from curate.pages.thumbnails import Thumbnails, side_for
from curate.progress import QUIET, Progress
from curate.project import Project

_MOST_PICTURES = 24
"""That the page shows of a class; `--json` lists all."""


@dataclass(frozen=True, slots=True)
class DifferCard:
    """Images of one class on which the runs differ in the same way."""

    label: str
    asked: Sequence[tuple[Asked, Picture | None]]
    """None stands for an image that was forgotten since."""
    more: int
    """Images beyond those shown."""
    of: int
    """Images of the class that both were asked."""

    @property
    def pictures(self) -> Sequence[Picture]:
        """What can be shown."""
        return [picture for _, picture in self.asked if picture is not None]

    @property
    def find(self) -> str:
        """What the filter looks at."""
        answers = {answer for one, _ in self.asked for answer in (one.first.answer, one.second.answer)}
        return " ".join([self.label, *sorted(answers), *(p.find for p in self.pictures)]).lower()


def write_comparison(
    project: Project, found: Comparison, known: Mapping[str, Picture], path: Path, progress: Progress = QUIET
) -> None:
    """Write the page of a comparison; `known` has its images by SHA-256. Raises StoreError."""
    parts = {
        "only-first": (f"Only {found.first} is right", _SUREST, _cards(found, found.only_first, known)),
        "only-second": (f"Only {found.second} is right", _SUREST, _cards(found, found.only_second, known)),
        "wrong": ("Both are wrong, each in its way", _WRONG, _cards(found, found.wrong_otherwise, known)),
    }
    shown = sum(len(card.pictures) for _, _, cards in parts.values() for card in cards)
    thumbnails = Thumbnails(project.store, side_for(shown))
    first, second = found.accuracies
    figures: list[tuple[str, int | str]] = [
        ("images that both held out", len(found.asked)),
        (found.first, with_interval(first)),
        (found.second, with_interval(second)),
        ("both right", found.both_right),
        ("both wrong", found.both_wrong),
    ]
    with progress.task("drawing the page", shown, "images") as task:
        sections = []
        for key, (title, lead, cards) in parts.items():
            drawn = thumbnails.along(cards, lambda card: card.pictures, task.advance)
            values = {"cards": drawn, "first": found.first, "second": found.second}
            count = sum(len(card.asked) + card.more for card in cards)
            sections.append(Section(key, title, lead, "differ.html", values, count))
        lead = f"{found.verdict[0].upper()}{found.verdict[1:]}. {_HOW}"
        title = f"{found.first} and {found.second}"
        Page(title, lead, sections, figures, "class, answer, file name or number").write(path)


_HOW = (
    "By McNemar's exact test: of the images that one run alone gets right, each would get half if they were equally"
    " good. Images that a run learned from, or from a copy of, are left out."
)
_SUREST = "By class, the most images first; of each those on which the other run was surest of its mistake."
_WRONG = "Neither tells for a run, and both may tell of a label."


def _cards(found: Comparison, asked: Sequence[Asked], known: Mapping[str, Picture]) -> list[DifferCard]:
    by_label: dict[str, list[Asked]] = {}
    for one in asked:
        by_label.setdefault(one.label, []).append(one)
    ordered = sorted(by_label.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        DifferCard(
            label,
            [(one, known.get(one.sha256)) for one in mine[:_MOST_PICTURES]],
            max(0, len(mine) - _MOST_PICTURES),
            sum(one.label == label for one in found.asked),
        )
        for label, mine in ordered
    ]
