"""A folder of files, as a source among others: for what was collected elsewhere."""

from collections.abc import AsyncIterator
from pathlib import Path

from curate.crawl.fetch import Fetcher
from curate.ingest.folder import image_files, local_offer
from curate.ingest.intake import Offer
from db.batches import chunks

_PAGE_SIZE = 100


class FolderFinder:
    """Walks a folder."""

    name = "folder"

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    async def find(self, query: str, fetcher: Fetcher) -> AsyncIterator[list[Offer]]:  # noqa: ARG002 - a folder answers no query
        """Yield all files, whatever the query."""
        for page in chunks(image_files(self._folder), _PAGE_SIZE):
            yield [local_offer(path, self.name, str(self._folder)) for path in page]
