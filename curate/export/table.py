"""`dataset.csv` beside `images/`: one row an image, with all that is known of it."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from curate.export.dataset import Dataset, Exported
from curate.export.interface import Reader
from db.files import Data
from db.store import relative_path

TABLE = "dataset.csv"
COLUMNS = tuple(field.name for field in fields(Exported) if field.name != "file")


class Csv:
    """One table for everything."""

    name = "csv"

    def copies(self, dataset: Dataset) -> Mapping[str, Path]:
        """Lay files out as the store does."""
        return {self._path(image): image.file for image in dataset.images}

    def written(self, dataset: Dataset, _read: Reader) -> Mapping[str, Data]:
        """Write the table."""
        return {TABLE: as_csv(dataset.images, self._path)}

    def cautions(self, _dataset: Dataset) -> Sequence[str]:
        """Say nothing: whoever reads it sees all of it."""
        return ()

    @staticmethod
    def _path(image: Exported) -> str:
        return f"images/{relative_path(image.sha256, image.format)}"


def as_csv(images: Iterable[Exported], path: Callable[[Exported], str]) -> bytes:
    """Write images as CSV in UTF-8, one row each, in the order of their ids."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", *COLUMNS])
    for image in images:
        rows.writerow([path(image), *(getattr(image, column) for column in COLUMNS)])
    return text.getvalue().encode()
