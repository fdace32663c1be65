"""`train/<class>/<sha256>.jpg`, `validation/<class>/…`: what torchvision's ImageFolder and many others read."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from curate.export.dataset import Dataset, Exported
from curate.export.interface import Reader
from curate.export.table import as_csv
from db.files import Data
from db.store import EXTENSIONS

_UNSEEN = {"GIF", "AVIF"}
"""Formats whose extension is not among torchvision's `IMG_EXTENSIONS`."""


class ImageFolder:
    """A folder a side, in it a folder a class."""

    name = "imagefolder"

    def copies(self, dataset: Dataset) -> Mapping[str, Path]:
        """Lay files out by side and class."""
        return {self._path(image): image.file for image in dataset.images}

    def written(self, dataset: Dataset, _read: Reader) -> Mapping[str, Data]:
        """Say where each image came from, and under which licence."""
        return {"sources.csv": as_csv(dataset.images, self._path)}

    def cautions(self, dataset: Dataset) -> Sequence[str]:
        """Say what torchvision passes over by its ending, and where it would count the classes of a side otherwise."""
        unseen = Counter(image.label for image in dataset.images if image.format in _UNSEEN)
        found = []
        if unseen:
            named = ", ".join(f"{name} {count}" for name, count in sorted(unseen.items()))
            found.append(f"torchvision's ImageFolder passes over images in GIF and AVIF ({named}); others read them")
        classes = {side: {image.label for image in images} for side, images in dataset.sides().items()}
        for side, mine in classes.items():
            if lacking := sorted(set().union(*classes.values()) - mine):
                what = f"{side} has no image of {', '.join(lacking)}"
                found.append(f"{what}: who numbers classes by folders, as torchvision, counts them otherwise there")
        return found

    @staticmethod
    def _path(image: Exported) -> str:
        return f"{image.split}/{image.label}/{image.sha256}.{EXTENSIONS[image.format]}"
