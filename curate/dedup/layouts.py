"""Layouts in the database: measured once an image, and searched without holding all of them."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select

from curate.dedup.layout import LENGTH, NAME, Nearest, Vector, layout
from curate.dedup.picture import read_rgb
from curate.progress import Progress
from curate.project import Project
from db.batches import chunks
from db.models import Image, Layout

Indices = NDArray[np.int64]

_BLOCK = 20_000
"""Layouts compared at once: 20 MB, and 160 MB as numbers to multiply."""
_COMMITTED = 256
"""Images measured between two transactions: what a stop costs."""


def measure(project: Project, ids: Indices, progress: Progress) -> None:
    """Store the layouts that these images lack. Raises StoreError when one is gone."""
    files = _without(project, ids)
    if not files:
        return
    with progress.task("measuring pictures", len(files), "images") as task, ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in chunks(files, _COMMITTED):
            found = list(pool.map(lambda file: layout(read_rgb(project.store.read(file[1], file[2]))), batch))
            with project.database.write() as session:
                numbers = [number for number, _, _ in batch]
                session.execute(delete(Layout).where(Layout.image_id.in_(numbers)))
                session.add_all(
                    Layout(image_id=number, method=NAME, vector=vector.tobytes())
                    for number, vector in zip(numbers, found, strict=True)
                )
            task.advance(len(batch))


def _without(project: Project, ids: Indices) -> list[tuple[int, str, str]]:
    """Id, SHA-256 and format of the images that have no layout yet."""
    found: list[tuple[int, str, str]] = []
    has_one = (Layout.image_id == Image.id) & (Layout.method == NAME)
    query = select(Image.id, Image.sha256, Image.format).outerjoin(Layout, has_one).where(Layout.image_id.is_(None))
    with project.database.read() as session:
        for batch in chunks(ids.tolist()):
            found += [(a, b, c) for a, b, c in session.execute(query.where(Image.id.in_(batch)).order_by(Image.id))]
    return found


def neighbours(project: Project, ids: Indices, new: Indices, count: int, progress: Progress) -> set[tuple[int, int]]:
    """Pairs of ids, smaller first: each of `new` with those of `ids` that are laid out most alike."""
    found: set[tuple[int, int]] = set()
    if not len(new):
        return found
    rounds = -(-len(new) // _BLOCK)
    with progress.task("searching what is laid out alike", rounds * len(ids), "images") as task:
        for own, own_vectors in _blocks(project, new):
            nearest = Nearest(own, own_vectors, count)
            for numbers, vectors in _blocks(project, ids):
                nearest.show(numbers, vectors)
                task.advance(len(numbers))
            found.update(nearest.pairs())
    return found


def _blocks(project: Project, ids: Indices) -> Iterator[tuple[Indices, Vector]]:
    for start in range(0, len(ids), _BLOCK):
        rows: list[tuple[int, bytes]] = []
        with project.database.read() as session:
            for batch in chunks(ids[start : start + _BLOCK].tolist()):
                query = select(Layout.image_id, Layout.vector).where(Layout.image_id.in_(batch), Layout.method == NAME)
                rows += [(number, vector) for number, vector in session.execute(query.order_by(Layout.image_id))]
        vectors = np.frombuffer(b"".join(vector for _, vector in rows), np.int8).reshape(-1, LENGTH)
        yield np.array([number for number, _ in rows], np.int64), vectors
