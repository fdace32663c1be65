"""`data/train-00000-of-00001.parquet`, the same for validation, and `README.md`: a dataset of the Hugging Face Hub.

Written as its library `datasets` does, so that `load_dataset` gives decoded images and named classes, from a disk or
from the Hub.
"""

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.export.dataset import Dataset, Exported
from curate.export.interface import Reader
from curate.export.shards import NUMBERS, SHARD_BYTES, TEXTS, divided, facts
from db.errors import ConfigError
from db.files import Data
from db.store import EXTENSIONS

_GROUP_BYTES = 1 << 26
"""Of images in a row group, 64 MB: who reads one image takes all of its group into memory, and so do we."""


class Parquet:
    """Tables with the images in them."""

    name = "parquet"

    def copies(self, _dataset: Dataset) -> Mapping[str, Path]:
        """Give nothing: all images are in the tables."""
        return {}

    def written(self, dataset: Dataset, read: Reader) -> Mapping[str, Data]:
        """Write the tables of each side, and the card that says which is which. Raises ConfigError without pyarrow."""
        schema = _schema(dataset.classes)
        found: dict[str, Data] = {"README.md": _card(dataset)}
        for side, images in dataset.sides().items():
            shards = divided(images, SHARD_BYTES)
            for number, shard in enumerate(shards):
                path = f"data/{side}-{number:05d}-of-{len(shards):05d}.parquet"
                found[path] = _table(schema, dataset.classes, shard, read)
        return found

    def cautions(self, _dataset: Dataset) -> Sequence[str]:
        """Say nothing: whoever reads it sees all of it."""
        return ()


def _schema(classes: Sequence[str]) -> Any:  # noqa: ANN401 - pyarrow has no types
    try:
        import pyarrow as pa  # type: ignore[import-untyped] # noqa: PLC0415 - an extra, of 130 MB
    except ImportError as error:
        raise ConfigError("writing Parquet needs pyarrow: pip install 'curate[parquet]'") from error
    kinds = dict.fromkeys(TEXTS, "string") | dict.fromkeys(NUMBERS, "int32")
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(classes), "_type": "ClassLabel"},
        **{name: {"dtype": kind, "_type": "Value"} for name, kind in kinds.items()},
    }
    columns = [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("label", pa.int64()),
        *((name, pa.type_for_alias(kind)) for name, kind in kinds.items()),
    ]
    return pa.schema(columns, {"huggingface": json.dumps({"info": {"features": features}})})


def _table(schema: Any, classes: Sequence[str], images: Sequence[Exported], read: Reader) -> Iterator[bytes]:  # noqa: ANN401
    """Make a file piece by piece, a row group at a time."""
    import pyarrow as pa  # noqa: PLC0415 - as above
    import pyarrow.parquet as pq  # type: ignore[import-untyped] # noqa: PLC0415

    numbers = {name: number for number, name in enumerate(classes)}
    pieces = _Pieces()
    with pq.ParquetWriter(pieces, schema) as writer:
        for group in divided(images, _GROUP_BYTES):
            rows = [_row(image, numbers[image.label], read) for image in group]
            writer.write_table(pa.Table.from_pylist(rows, schema), row_group_size=len(rows))
            yield pieces.taken()
    yield pieces.taken()


def _row(image: Exported, number: int, read: Reader) -> dict[str, Any]:
    picture = {"bytes": read(image), "path": f"{image.sha256}.{EXTENSIONS[image.format]}"}
    return {"image": picture, "label": number, **facts(image)}


class _Pieces(io.RawIOBase):
    """A file that gives away what was written to it, and knows how much that was."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = bytearray()
        self._given = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
        self._kept += data
        return len(data)

    def tell(self) -> int:
        return self._given + len(self._kept)

    def taken(self) -> bytes:
        """What came since it was asked last."""
        found, self._kept = bytes(self._kept), bytearray()
        self._given += len(found)
        return found


def _card(dataset: Dataset) -> bytes:
    """Say what the Hub asks of a dataset: in YAML where its parts are, in prose what they hold."""
    sides = dataset.sides()
    files = "\n".join(f"  - split: {side}\n    path: data/{side}-*" for side in sides)
    numbers = {side: Counter(image.label for image in images) for side, images in sides.items()}
    rows = "\n".join(
        f"| {_cell(name)} | {' | '.join(str(numbers[side][name]) for side in sides)} |" for name in dataset.classes
    )
    licences = dataset.licences()
    unknown = len(dataset.images) - licences.total()
    listed = [f"- {name or 'of no name'} {url}: {number} images" for (name, url), number in sorted(licences.items())]
    listed += [f"- unknown: {unknown} images"] if unknown else []
    return f"""---
task_categories:
- image-classification
license: other
license_name: as-said-of-each-image
configs:
- config_name: default
  data_files:
{files}
---

# {dataset.name}

{len(dataset.images):,} images of {len(dataset.classes)} classes. Copies of one photograph are on one side only.

| class | {" | ".join(sides)} |
|---|{"---|" * len(sides)}
{rows}

Each image has its own licence (`licence`, `licence_url`), author (`creator`) and words to name them (`attribution`):

{chr(10).join(listed)}
""".encode()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
