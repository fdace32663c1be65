"""Features of images on disk, with the hashes of the images that they are of.

Of a pretrained network in one file; of a run in parts, which grow as it answers.
"""

import io
from collections.abc import Collection, Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from trainer.files import sweep, write

Features = NDArray[np.float32]
"""(N, D), one row an image; or (D,) of one."""
Halves = NDArray[np.float16]
"""The same, of a run."""

FOLDER = "embeddings"
"""Where a project keeps them, in its private folder."""
_PART = 4096
"""Images of a part: it is written anew with every batch that is added."""
_RUNS = 2
"""Runs whose features are kept: the one that answers, and the one before it."""


def discard(folder: Path, hashes: Collection[str]) -> None:
    """Remove features of these images from every file."""
    gone = set(hashes)
    for path in folder.glob("*.npz"):
        known = read(path)
        left = {sha256: found for sha256, found in known.items() if sha256 not in gone}
        if not left:
            path.unlink(missing_ok=True)
        elif len(left) < len(known):
            keep(path, left)


def read(path: Path) -> dict[str, Features]:
    """Features of each image in a file, by its hash; none of a file that is gone or damaged."""
    hashes, features = _load(path)
    return dict(zip(hashes, features, strict=True))


def _load(path: Path) -> tuple[list[str], Features]:
    try:
        # Not by its path: of a damaged file numpy would leave the handle open.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as found:
            hashes, features = found["sha256"].tolist(), found["features"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return [], np.empty((0, 0), np.float32)
    return (hashes, features) if len(hashes) == len(features) else ([], features[:0])


def keep(path: Path, known: Mapping[str, Features] | Mapping[str, Halves]) -> None:
    """Put features of images in a file, atomically. Raises TrainerError."""
    out = io.BytesIO()
    np.savez(out, sha256=np.array(list(known)), features=np.stack(list(known.values())))
    write(path, out.getvalue())


def add(folder: Path, run: str, found: Mapping[str, Features]) -> None:
    """Keep more features of a run, in half precision, and give up those of runs long past. Raises TrainerError."""
    if not folder.exists():
        folder.mkdir(parents=True)
    parts = _parts(folder, run)
    if not parts:
        sweep(folder)
        _tidy(folder)
    known: dict[str, Halves] = dict(zip(*_halves(parts[-1]), strict=True)) if parts else {}
    number = int(parts[-1].stem.rpartition(".part")[2]) if parts else 0
    if len(known) >= _PART:
        known, number = {}, number + 1
    most = np.finfo(np.float16).max
    halves = {sha256: np.clip(features, -most, most).astype(np.float16) for sha256, features in found.items()}
    keep(folder / f"{run}.part{number:04d}.npz", known | halves)


def of_run(folder: Path, run: str) -> tuple[list[str], Halves]:
    """Hashes of the images that features of a run are kept of, and these, (N, D)."""
    parts = [part for part in map(_halves, _parts(folder, run)) if part[0]]
    if not parts:
        return [], np.empty((0, 0), np.float16)
    return [sha256 for hashes, _ in parts for sha256 in hashes], np.concatenate([rows for _, rows in parts])


def _halves(path: Path) -> tuple[list[str], Halves]:
    hashes, found = _load(path)
    return hashes, found.astype(np.float16)


def _parts(folder: Path, run: str) -> list[Path]:
    return sorted(folder.glob(f"{run}.part????.npz"))


def _tidy(folder: Path) -> None:
    """Make room for another run."""
    newest: dict[str, float] = {}
    for path in folder.glob("*.part????.npz"):
        run = path.name.rpartition(".part")[0]
        newest[run] = max(newest.get(run, 0.0), path.stat().st_mtime)
    for run in sorted(newest, key=lambda name: newest[name], reverse=True)[_RUNS - 1 :]:
        for path in _parts(folder, run):
            path.unlink(missing_ok=True)
