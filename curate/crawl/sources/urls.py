"""A list of addresses that somebody has already: one a line."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

from curate.crawl.fetch import Fetcher
from curate.crawl.interface import SourceError
from curate.ingest.intake import Offer
from db.batches import chunks
from db.reasons import Reason, Refusal

_PAGE_SIZE = 100


class UrlsFinder:
    """Reads a text file. Blank lines and lines that begin with # are left out."""

    name = "urls"

    def __init__(self, file: Path) -> None:
        self._file = file

    async def find(self, query: str, fetcher: Fetcher) -> AsyncIterator[list[Offer]]:  # noqa: ARG002 - a list answers no query
        """Yield all addresses, whatever the query."""
        try:
            lines = self._file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(Refusal(Reason.UNREADABLE, f"{self._file}: {error}")) from error
        addresses = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
        for page in chunks(addresses, _PAGE_SIZE):
            yield [self._offer(address) for address in page]

    def _offer(self, address: str) -> Offer:
        return Offer(address=address, source=self.name, query=self._file.name, name=_file_name(address))


def _file_name(address: str) -> str:
    try:
        return urlsplit(address).path.rpartition("/")[2]
    except ValueError:  # the fetcher will say what is wrong with it
        return ""
