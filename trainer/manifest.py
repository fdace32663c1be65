"""What a run learns from: files, their labels, and the side of the split each is on."""

import csv
import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import ManifestError

TRAIN = "train"
VALIDATION = "validation"
OF_NONE = -1
"""Label of what is of none of the classes."""


@dataclass(frozen=True, slots=True)
class Item:
    """One image. `id` is what messages call it; `label` counts in the manifest's classes, or is `OF_NONE`."""

    id: str
    path: Path
    sha256: str
    label: int
    split: str


@dataclass(frozen=True)
class Manifest:
    """Classes in order, and the images of both sides."""

    classes: tuple[str, ...]
    items: tuple[Item, ...]
    outsiders: tuple[Item, ...] = ()
    """Images of none of the classes, of either side: no answer is learned from them, only what lies outside."""

    def side(self, split: str) -> list[Item]:
        """Images of one side, in a fixed order."""
        return _of_side(self.items, split)

    def outsiders_of(self, split: str) -> list[Item]:
        """Images of one side that are of none of the classes, in a fixed order."""
        return _of_side(self.outsiders, split)

    @property
    def _all(self) -> list[Item]:
        return sorted((*self.items, *self.outsiders), key=lambda item: item.sha256)

    def check(self) -> None:
        """Raise ManifestError, before any work, for what cannot be trained on."""
        train = Counter(item.label for item in self.side(TRAIN))
        if len(train) < 2:  # noqa: PLR2004 - a choice needs two
            named = ", ".join(self.classes[label] for label in train) or "no class"
            raise ManifestError(f"training needs labelled images of two classes; there are only {named}")
        if not self.side(VALIDATION):
            raise ManifestError("no image is held out for validation; label at least two of some class")

    def check_files(self) -> None:
        """Read every file once. Raises ManifestError naming the ids of images that are gone or were altered."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = pool.map(_problem, (*self.items, *self.outsiders))
            problems = [problem for problem in found if problem]
        if problems:
            more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""  # noqa: PLR2004 - enough for a line
            raise ManifestError(
                f"images of this split cannot be used: {'; '.join(problems[:3])}{more}. Run `curate doctor`."
            )

    def fingerprint(self) -> str:
        """Hash of everything a run depends on: the same images, labels, sides and classes, wherever they lie."""
        lines = [f"{item.sha256}\t{item.split}\t{item.label}" for item in self._all]
        return hashlib.sha256("\n".join([*self.classes, "", *lines]).encode()).hexdigest()

    def to_csv(self, root: Path) -> str:
        """Write it as a table, paths relative to `root`: the same images and labels give the same bytes anywhere.

        Hence the order of the hashes, and no ids: they count how images came into one database, and hashes name images.
        What is of none of the classes has no label, and its split is `outside-train` or `outside-validation`.
        """
        text = io.StringIO()
        rows = csv.writer(text)
        rows.writerow(["path", "label", "split", "sha256"])
        for item in self._all:
            path = Path(os.path.relpath(item.path, root)).as_posix()
            rows.writerow([path, *self._told(item), item.sha256])
        return text.getvalue()

    def _told(self, item: Item) -> tuple[str, str]:
        return ("", f"outside-{item.split}") if item.label == OF_NONE else (self.classes[item.label], item.split)


def _of_side(items: Iterable[Item], split: str) -> list[Item]:
    return sorted((item for item in items if item.split == split), key=lambda item: item.sha256)


def _problem(item: Item) -> str:
    try:
        with item.path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"image {item.id} ({error.strerror})"
    return "" if actual == item.sha256 else f"image {item.id} (altered since it was stored)"


def labels_of(items: Sequence[Item]) -> list[int]:
    """Labels in the order of `items`."""
    return [item.label for item in items]
