"""Bytes reach the disk whole or not at all; the store keeps each once."""

import hashlib
import os
from pathlib import Path

import pytest

from db import files
from db.errors import StoreError
from db.files import TEMPORARY, check_writable, leftovers, sweep, write_atomically
from db.store import ImageStore
from tests.pictures import jpeg


def temporaries(folder: Path) -> list[Path]:
    """Unfinished files anywhere below `folder`."""
    return [path for path in folder.rglob("*") if path.name.startswith(TEMPORARY)]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk refuses, the old file stays, no part of the new one does, and the path is named."""
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=f"cannot write {path}: No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert temporaries(tmp_path) == []


def test_no_file_takes_the_place_of_a_device(tmp_path: Path) -> None:
    """A pipe stands here for `/dev/null`, which `-o /dev/null` took from the whole machine."""
    pipe, out = tmp_path / "pipe", tmp_path / "stdout"
    os.mkfifo(pipe)
    with (tmp_path / "page.html").open("w") as page:
        out.symlink_to(f"/proc/self/fd/{page.fileno()}")
        for path in (pipe, out):
            with pytest.raises(StoreError, match="a device or a pipe"):
                write_atomically(path, b"page")
    assert (pipe.is_fifo(), out.is_symlink()) == (True, True)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_place_that_cannot_be_written_is_told_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without rights, below a file, or in the place of a file; what can be made is no obstacle."""
    check_writable(tmp_path / "new" / "folder" / "page.html")
    (tmp_path / "file").touch()
    check_writable(tmp_path / "file")
    for path, why in (
        (tmp_path, "Is a directory"),
        (tmp_path / "file" / "page.html", "Not a directory"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(StoreError, match=f"cannot write {path}: {why}"):
            check_writable(path)
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    with pytest.raises(StoreError, match="Permission denied"):
        check_writable(tmp_path / "new" / "page.html")


def test_only_dead_processes_leave_leftovers(tmp_path: Path) -> None:
    """What a living process is writing is left alone."""
    alive = tmp_path / f"{TEMPORARY}{os.getpid()}-x"
    dead = tmp_path / f"{TEMPORARY}4194305-x"
    for path in (alive, dead):
        path.write_bytes(b"part")
    assert list(leftovers(tmp_path)) == [dead]
    sweep(tmp_path)
    assert alive.exists()
    assert not dead.exists()


def test_processes_are_told_apart() -> None:
    """This process lives, one of an impossible number does not."""
    assert files.process_lives(os.getpid())
    assert not files.process_lives(2**22 + 1)


def test_the_store_keeps_bytes_once(tmp_path: Path) -> None:
    """Two puts of the same bytes make one file, under their hash; a file that was altered is mended."""
    store = ImageStore(tmp_path)
    data = jpeg(1)
    sha256 = hashlib.sha256(data).hexdigest()
    path = store.path(sha256, "JPEG")
    store.put_all({path: data})
    assert path == tmp_path / sha256[:2] / f"{sha256}.jpg"
    stamp = path.stat().st_mtime_ns
    store.put_all({path: data})
    assert path.stat().st_mtime_ns == stamp
    path.write_bytes(b"x" * len(data))
    store.put_all({path: data})
    assert store.read(sha256, "JPEG") == data
    assert list(store.files()) == [path]


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    """Reading what is not there says which file."""
    with pytest.raises(StoreError, match="abc"):
        ImageStore(tmp_path).read("abc", "PNG")
