"""`annotations/instances_train.json` beside `train/`, and the same for validation: the format of https://cocodataset.org.

COCO says things of boxes and has none for a whole picture. So each picture has one annotation, whose box is all of it;
its licence stands where COCO has licences.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.export.dataset import Dataset, Exported
from curate.export.interface import Reader
from db.files import Data
from db.store import EXTENSIONS

_MORE = ("sha256", "source", "page_url", "title", "creator", "licence_url", "attribution")
"""What COCO has no name for and readers pass over."""


class Coco:
    """A folder and a file of annotations a side."""

    name = "coco"

    def copies(self, dataset: Dataset) -> Mapping[str, Path]:
        """Lay files out by side."""
        return {f"{image.split}/{_name(image)}": image.file for image in dataset.images}

    def written(self, dataset: Dataset, _read: Reader) -> Mapping[str, Data]:
        """Write the annotations of each side."""
        return {f"annotations/instances_{side}.json": _side(dataset, of) for side, of in dataset.sides().items()}

    def cautions(self, _dataset: Dataset) -> Sequence[str]:
        """Say nothing: whoever reads it sees all of it."""
        return ()


def _side(dataset: Dataset, images: Sequence[Exported]) -> bytes:
    licences = {known: number for number, known in enumerate(sorted(dataset.licences()), 1)}
    categories = {name: number for number, name in enumerate(dataset.classes, 1)}
    ordered = sorted(images, key=lambda one: one.id)
    content = {
        "info": {
            "description": dataset.name,
            "version": str(dataset.snapshot),
            "year": dataset.made_at.year,
            "date_created": f"{dataset.made_at:%Y/%m/%d}",
        },
        "licenses": [{"id": number, "name": name, "url": url} for (name, url), number in licences.items()],
        "categories": [{"id": number, "name": name, "supercategory": ""} for name, number in categories.items()],
        "images": [_image(one, licences.get((one.licence, one.licence_url))) for one in ordered],
        "annotations": [_annotation(one, categories[one.label]) for one in ordered],
    }
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


def _image(image: Exported, licence: int | None) -> dict[str, Any]:
    known = {"license": licence} if licence is not None else {}
    more = {name: getattr(image, name) for name in _MORE}
    size = {"width": image.width, "height": image.height}
    return {"id": image.id, "file_name": _name(image), **size, **known, "coco_url": image.url, **more}


def _annotation(image: Exported, category: int) -> dict[str, Any]:
    box = [0, 0, image.width, image.height]
    area = image.width * image.height
    return {"id": image.id, "image_id": image.id, "category_id": category, "bbox": box, "area": area, "iscrowd": 0}


def _name(image: Exported) -> str:
    return f"{image.sha256}.{EXTENSIONS[image.format]}"
