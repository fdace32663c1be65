"""A list of others' images, each with the class that is claimed of it: read, and its pictures fetched or opened."""

import asyncio
import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from curate import tables
from curate.crawl.fetch import Fetcher
from curate.crawl.wire import Body, Kind
from curate.ingest.facts import header_refusal
from curate.predicting import Refused, read_picture
from curate.project import Project
from db.batches import chunks
from db.errors import DatasetError
from db.reasons import Refusal

_IMAGES = (
    "image",
    "path",
    "file",
    "filename",
    "file_name",
    "image_path",
    "picture",
    "image_url",
    "img_url",
    "url",
    "src",
)
_CLASSES = ("class", "claimed", "claimed_class", "label", "category", "model")
_AT_ONCE = 64
"""Addresses fetched together. The pictures of so many are in memory: as a shop shows them, 10 MB."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One row of the list, counted from 1."""

    row: int
    image: str
    """A path or an address, as the list has it."""
    claimed: str

    @property
    def remote(self) -> bool:
        """Whether it is to be fetched."""
        return self.image.casefold().startswith(("http://", "https://"))


def read_offers(file: Path) -> list[Offer]:
    """Read a CSV with a column of images and one of classes. Raises DatasetError."""
    try:
        with tables.opened(file, (*_IMAGES, *_CLASSES)) as table:
            image, claimed = (_column(table.names, known) for known in (_IMAGES, _CLASSES))
            rows = enumerate(table.rows(), 1)
            return [
                Offer(n, row.get(image, "").strip(), row.get(claimed, "").strip())
                for n, row in rows
                if any(row.values())
            ]
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file}: it is not written in UTF-8") from error
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError(f"cannot read the catalogue {file}: {getattr(error, 'strerror', None) or error}") from error


def _column(names: Sequence[str], known: Sequence[str]) -> str:
    """Find the first known column. Raises ValueError."""
    by_key = {tables.key(name): name for name in reversed(names)}
    found = next((by_key[key] for key in known if key in by_key), None)
    if found is None:
        said = ", ".join(names)[:200] or "nothing"
        raise ValueError(f"its first line has no column {known[0]!r} (or {', '.join(known[1:4])}, …); it has: {said}")
    return found


@contextmanager
def opened(project: Project, folder: Path, offers: Sequence[Offer]) -> Iterator[Iterator[Callable[[], bytes]]]:
    """Give a source for each offer's picture, in order; calling one may raise Refused. Paths are relative to `folder`.

    Addresses are fetched as a crawl does it: guarded, paced, and asking robots.txt.
    """
    with asyncio.Runner() as runner:
        fetcher = Fetcher(project.settings.crawl)
        if any(offer.remote for offer in offers):
            runner.run(fetcher.__aenter__())
        try:
            yield _sources(project, folder, offers, lambda some: runner.run(_fetch(project, fetcher, some)))
        finally:
            if any(offer.remote for offer in offers):
                runner.run(fetcher.__aexit__(None, None, None))


def _sources(
    project: Project,
    folder: Path,
    offers: Sequence[Offer],
    fetch: Callable[[Sequence[Offer]], dict[int, bytes | Refusal]],
) -> Iterator[Callable[[], bytes]]:
    for some in chunks(offers, _AT_ONCE):
        fetched = fetch([offer for offer in some if offer.remote]) if any(offer.remote for offer in some) else {}
        for offer in some:
            if offer.remote:
                yield partial(_given, fetched[offer.row])
            else:
                yield partial(read_picture, project, folder / offer.image)


async def _fetch(project: Project, fetcher: Fetcher, offers: Sequence[Offer]) -> dict[int, bytes | Refusal]:
    limits = project.settings.ingest
    found = await asyncio.gather(*(fetcher.get(o.image, Kind.IMAGE, limits.max_bytes) for o in offers))
    data: dict[int, bytes | Refusal] = {}
    for offer, one in zip(offers, found, strict=True):
        if isinstance(one, Body):
            data[offer.row] = header_refusal(one.data, limits) or one.data
        else:
            data[offer.row] = one
    return data


def _given(found: bytes | Refusal) -> bytes:
    if isinstance(found, Refusal):
        raise Refused(found)
    return found
