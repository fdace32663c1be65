"""`train/<class>/<sha256>.jpg`, `validation/<class>/…`: what torchvision's ImageFolder and many others read."""

from collections.abc import Mapping
from pathlib import Path

from curate.export.dataset import Dataset, Exported
from curate.export.interface import Reader
from curate.export.table import as_csv
from db.files import Data
from db.store import EXTENSIONS


class ImageFolder:
    """A folder a side, in it a folder a class."""

    name = "imagefolder"

    def copies(self, dataset: Dataset) -> Mapping[str, Path]:
        """Lay files out by side and class."""
        return {self._path(image): image.file for image in dataset.images}

    def written(self, dataset: Dataset, _read: Reader) -> Mapping[str, Data]:
        """Say where each image came from, and under which licence."""
        return {"sources.csv": as_csv(dataset.images, self._path)}

    @staticmethod
    def _path(image: Exported) -> str:
        return f"{image.split}/{image.label}/{image.sha256}.{EXTENSIONS[image.format]}"
