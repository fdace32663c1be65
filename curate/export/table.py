"""`dataset.csv` beside `images/`: one row an image, with all that is known of it."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path

from curate.export.interface import Exported
from db.store import relative_path

_COLUMNS = [field.name for field in fields(Exported) if field.name != "file"]


class Csv:
    """One table for everything."""

    name = "csv"

    def copies(self, images: Iterable[Exported]) -> Mapping[str, Path]:
        """Lay files out as the store does."""
        return {self._path(image): image.file for image in images}

    def tables(self, images: Iterable[Exported]) -> Mapping[str, bytes]:
        """Write the table."""
        return {"dataset.csv": as_csv(images, self._path)}

    @staticmethod
    def _path(image: Exported) -> str:
        return f"images/{relative_path(image.sha256, image.format)}"


def as_csv(images: Iterable[Exported], path: Callable[[Exported], str]) -> bytes:
    """Write images as CSV in UTF-8, one row each, in the order of their ids."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", *_COLUMNS])
    for image in images:
        rows.writerow([path(image), *(getattr(image, column) for column in _COLUMNS)])
    return text.getvalue().encode()
