"""The image store: original bytes, each stored once, under the name of their content."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from db.errors import StoreError
from db.files import leftovers, sweep, sync_folder, write_all_atomically

EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "AVIF": "avif"}
"""Formats that are stored, and the extension each gets: whatever every browser shows, Label Studio's page included."""


class ImageStore:
    """Files `ab/abcdef….jpg` under one folder, named by SHA-256 and by the format of their bytes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._unfinished = root / ".unfinished"  # one folder for all, so that clearing it up needs no walk

    def path(self, sha256: str, image_format: str) -> Path:
        """Where an image lies, or would lie."""
        return self.root / relative_path(sha256, image_format)

    def put_all(self, files: Mapping[Path, bytes]) -> None:
        """Store images at once, each at its `path`. A file that is there already, whole, is left alone."""
        wanted = {path: data for path, data in files.items() if not self._holds(path, data)}
        write_all_atomically(wanted, temporary_folder=self._unfinished)

    def read(self, sha256: str, image_format: str) -> bytes:
        """Bytes of an image. Raises StoreError when the file is gone."""
        path = self.path(sha256, image_format)
        try:
            return path.read_bytes()
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}. `curate doctor` lists what is missing.") from error

    def remove(self, sha256: str, image_format: str) -> None:
        """Take a file out for good; one that is gone is left so. Raises StoreError when the folder is read-only."""
        path = self.path(sha256, image_format)
        try:
            path.unlink()
            sync_folder(path.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"cannot remove {path}: {error.strerror}. Mend that, then run it again.") from error

    def files(self) -> Iterator[Path]:
        """Every finished file in the store, in no order."""
        return (path for path in self.root.rglob("*") if path.parent != self._unfinished and path.is_file())

    def leftovers(self) -> Iterator[Path]:
        """Unfinished files of killed processes."""
        return leftovers(self._unfinished)

    def sweep(self) -> None:
        """Remove unfinished files of killed processes."""
        sweep(self._unfinished)

    @staticmethod
    def _holds(path: Path, data: bytes) -> bool:
        # Comparing the bytes, not the size, lets a second import mend a file that was altered.
        try:
            return path.read_bytes() == data
        except OSError:
            return False


def relative_path(sha256: str, image_format: str) -> str:
    """Path below the store's folder: two letters of fan-out keep folders small at a million images."""
    return f"{sha256[:2]}/{sha256}.{EXTENSIONS[image_format]}"


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex, read in pieces. Raises OSError when it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
