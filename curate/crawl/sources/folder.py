"""A folder of files, as a source among others: for what was collected elsewhere."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

from curate.crawl.fetch import Fetcher
from curate.crawl.interface import Page, Question, SourceError
from curate.ingest.folder import full, image_files, local_offer, shown
from db.reasons import Reason, Refusal

T = TypeVar("T")
_PAGE_SIZE = 100


class Pages(Generic[T]):
    """A long list that is held a page at a time. It stays open, so that the next page costs no more than the first."""

    def __init__(self, read: Callable[[int], Iterator[T]]) -> None:
        self._read = read
        """Reads on from so many items."""
        self._open: tuple[int, Iterator[T]] | None = None

    def take(self, cursor: str) -> tuple[list[T], str | None]:
        """Give the page that begins at `cursor`, and where the next one does."""
        start = int(cursor or 0)
        # Let go of while it is read: what fails in the middle is opened anew.
        opened, self._open = self._open, None
        items = opened[1] if opened is not None and opened[0] == start else self._read(start)
        page = list(islice(items, _PAGE_SIZE))
        if len(page) < _PAGE_SIZE:
            return page, None
        self._open = (start + len(page), items)
        return page, str(start + len(page))


class FolderFinder:
    """Walks a folder, in a fixed order."""

    name = "folder"
    searches = False
    most_questions: int | None = None

    def __init__(self, folder: Path) -> None:
        self._folder = full(folder)
        self._shown = shown(self._folder)
        self._pages = Pages(lambda start: islice(image_files(self._folder), start, None))

    def first(self, query: str) -> Question:  # noqa: ARG002 - a folder answers no query
        """Begin with its first file, whatever the query."""
        return Question(self._shown)

    async def page(self, question: Question, fetcher: Fetcher) -> Page:  # noqa: ARG002 - nothing is fetched
        """Give the next files. Raises SourceError for a folder that is no longer there."""
        if not self._folder.is_dir():
            raise SourceError(Refusal(Reason.UNREADABLE, f"no folder {self._shown}"))
        files, cursor = await asyncio.to_thread(self._pages.take, question.cursor)
        return Page([local_offer(file, self.name, self._shown) for file in files], cursor)
