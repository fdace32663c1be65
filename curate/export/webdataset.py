"""`train-000000.tar`, `validation-000000.tar`: shards as https://github.com/webdataset/webdataset reads them.

A sample is three members of one name, the image's SHA-256: `.jpg`, `.cls` with the number of its class, and `.json`
with its licence and all else. The number counts in `classes.txt`.

The image's member ends with `.jpg` whatever its format: readers want one name for a part of a sample (Hugging Face's
refuses a shard of several), and go by the bytes. `format` in the JSON says it.
"""

import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from curate.export.dataset import Dataset, Exported
from curate.export.interface import Reader
from curate.export.shards import SHARD_BYTES, divided, facts
from db.errors import ConfigError
from db.files import Data

_END = bytes(2 * tarfile.BLOCKSIZE)


class WebDataset:
    """Tar files, each to be read from its beginning to its end."""

    name = "webdataset"

    def copies(self, _dataset: Dataset) -> Mapping[str, Path]:
        """Give nothing: all images are in the shards."""
        return {}

    def written(self, dataset: Dataset, read: Reader) -> Mapping[str, Data]:
        """Write the shards of each side, and the classes, one a line. Raises ConfigError for a name of two lines."""
        if broken := [name for name in dataset.classes if len(name.splitlines()) > 1]:
            what = f"who reads WebDataset takes the class {broken[0]!r} for two: its name has a line separator"
            raise ConfigError(f"{what}; rename it (`curate classes rename`), or export parquet")
        numbers = {name: number for number, name in enumerate(dataset.classes)}
        shards = {
            f"{side}-{number:06d}.tar": _shard(images, numbers, read)
            for side, of in dataset.sides().items()
            for number, images in enumerate(divided(of, SHARD_BYTES))
        }
        return {"classes.txt": "".join(f"{name}\n" for name in dataset.classes).encode(), **shards}

    def cautions(self, _dataset: Dataset) -> Sequence[str]:
        """Say nothing: whoever reads it sees all of it."""
        return ()


def _shard(images: Sequence[Exported], numbers: Mapping[str, int], read: Reader) -> Iterator[bytes]:
    for image in images:
        said = {"label": image.label, **facts(image)}
        yield _member(f"{image.sha256}.cls", str(numbers[image.label]).encode())
        yield _member(f"{image.sha256}.jpg", read(image))
        yield _member(f"{image.sha256}.json", json.dumps(said, ensure_ascii=False).encode())
    yield _END


def _member(name: str, data: bytes) -> bytes:
    """One file of a tar, of no date and no owner, so that the same images make the same bytes."""
    header = tarfile.TarInfo(name)
    header.size = len(data)
    return header.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE)
