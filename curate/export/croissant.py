"""The layout of `csv`, and `croissant.json` that describes it in the words of https://docs.mlcommons.org/croissant.

Search engines for datasets read that, and `mlcroissant` gives the records, images decoded.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from curate.export.dataset import Dataset
from curate.export.interface import Reader
from curate.export.table import COLUMNS, TABLE, Csv
from db.errors import ConfigError
from db.files import Data

_CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        name: f"cr:{name}"
        for name in (
            *("column", "extract", "field", "fileObject", "fileProperty", "fileSet", "includes", "isLiveDataset"),
            *("jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated"),
            *("replace", "separator", "source", "subField", "transform", "citeAs", "format"),
            *("equivalentProperty", "samplingRate"),
        )
    },
}
_TAKEN_FOR_NOTHING = {
    *("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"),
    *("N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
}
"""By pandas, in a table that it reads."""
_INTEGERS = {"id", "width", "height", "bytes"}
_MEANINGS = {
    "id": "Number in the project that this was exported from.",
    "sha256": "Of the image's file.",
    "format": "As Pillow names it.",
    "label": "Name of the class.",
    "split": "train or validation.",
    "width": "In pixels, turned upright.",
    "height": "In pixels, turned upright.",
    "source": "Where it was found.",
    "url": "Address of the image.",
    "page_url": "Address of a page that shows it.",
    "title": "As the source names it.",
    "creator": "Who made it, as the source says.",
    "licence": "As SPDX names it; empty where it is unknown.",
    "licence_url": "Address of the licence.",
    "attribution": "Words that name title, author and licence.",
    "bytes": "Size of the image's file.",
}


class Croissant(Csv):
    """A table, its images, and what both mean to a machine."""

    name = "croissant"

    def written(self, dataset: Dataset, read: Reader) -> Mapping[str, Data]:
        """Write the table and its description. Raises ConfigError for classes that readers of it would misread."""
        _refuse_misread({image.label for image in dataset.images})
        table = super().written(dataset, read)
        content = json.dumps(_description(dataset, _sha256(table[TABLE])), ensure_ascii=False, indent=1)
        return {**table, "croissant.json": f"{content}\n".encode()}


def _refuse_misread(labels: Collection[str]) -> None:
    """Mlcroissant reads the table by pandas, which guesses what a column holds before it is told."""
    lost = _TAKEN_FOR_NOTHING.intersection(labels) or {name for name in labels if all(map(_is_number, labels))}
    if lost:
        what = f"who reads Croissant takes the class {min(lost)!r} for a number or for nothing"
        raise ConfigError(f"{what}; rename it (`curate classes rename`), or export parquet")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.casefold() in {"true", "false"}
    return True


def _sha256(data: Data) -> str:
    return hashlib.sha256(data if isinstance(data, bytes) else b"".join(data)).hexdigest()


def _description(dataset: Dataset, table_sha256: str) -> dict[str, Any]:
    licences = sorted({url or name for name, url in dataset.licences()})
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _CONFORMS_TO,
        "name": dataset.name,
        "description": f"{len(dataset.images):,} images of {', '.join(dataset.classes)}."
        " Each has its own licence. Copies of one photograph are on one side of the split only.",
        **({"license": licences} if licences else {}),
        "version": f"{dataset.snapshot}.0.0",
        "datePublished": dataset.made_at.date().isoformat(),
        "distribution": [_table(table_sha256), _images()],
        "recordSet": [_classes(dataset), _records()],
    }


def _table(sha256: str) -> dict[str, Any]:
    found = {"name": TABLE, "contentUrl": TABLE, "encodingFormat": "text/csv", "sha256": sha256}
    return {"@type": "cr:FileObject", "@id": TABLE, **found}


def _images() -> dict[str, Any]:
    # Of several formats, and readers go by the bytes.
    found = {"name": "images", "encodingFormat": "image/jpeg", "includes": "images/*/*"}
    return {"@type": "cr:FileSet", "@id": "images", **found}


def _classes(dataset: Dataset) -> dict[str, Any]:
    field = {"@type": "cr:Field", "@id": "classes/name", "name": "name", "dataType": "sc:Text"}
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/name"},
        "field": [field],
        "data": [{"classes/name": name} for name in dataset.classes],
    }


def _records() -> dict[str, Any]:
    # By the name: `mlcroissant` 1.1 finds no file by its whole path.
    last = {**_column("path"), "transform": {"regex": "^(?:.*/)?([^/]+)$"}}
    file = _field("file_name", "Name of the image's file.", "sc:Text", last)
    file["references"] = {"fileSet": {"@id": "images"}, "extract": {"fileProperty": "filename"}}
    content = {"fileSet": {"@id": "images"}, "extract": {"fileProperty": "content"}}
    picture = _field("image", "The image.", "sc:ImageObject", content)
    rest = [_field(name, _MEANINGS[name], _kind(name), _column(name)) for name in COLUMNS]
    return {
        "@type": "cr:RecordSet",
        "@id": "records",
        "name": "records",
        "description": "One record an image.",
        "key": {"@id": "records/file_name"},
        "field": [file, picture, *rest],
    }


def _kind(name: str) -> str | list[str]:
    if name == "split":
        return ["sc:Text", "cr:Split"]
    return "sc:Integer" if name in _INTEGERS else "sc:Text"


def _column(name: str) -> dict[str, Any]:
    return {"fileObject": {"@id": TABLE}, "extract": {"column": name}}


def _field(name: str, meaning: str, kind: str | list[str], source: dict[str, Any]) -> dict[str, Any]:
    found = {"name": name, "description": meaning, "dataType": kind, "source": source}
    return {"@type": "cr:Field", "@id": f"records/{name}", **found}
