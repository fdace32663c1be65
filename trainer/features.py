"""Features of images on disk: a file a network, with the hashes of the images that they are of."""

import io
from collections.abc import Collection
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from trainer.files import write

Features = NDArray[np.float32]
"""(N, D), one row an image; or (D,) of one."""

FOLDER = "embeddings"
"""Where a project keeps them, in its private folder."""


def discard(folder: Path, hashes: Collection[str]) -> None:
    """Remove every file with features of one of these images; those of the others are computed again when asked."""
    for path in folder.glob("*.npz"):
        if not read(path).keys().isdisjoint(hashes):
            path.unlink(missing_ok=True)


def read(path: Path) -> dict[str, Features]:
    """Features of each image in a file, by its hash; none of a file that is gone or damaged."""
    try:
        # Not by its path: of a damaged file numpy would leave the handle open.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as found:
            return dict(zip(found["sha256"].tolist(), found["features"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return {}


def keep(path: Path, known: dict[str, Features]) -> None:
    """Put features of images in a file, atomically. Raises TrainerError."""
    out = io.BytesIO()
    np.savez(out, sha256=np.array(list(known)), features=np.stack(list(known.values())))
    write(path, out.getvalue())
