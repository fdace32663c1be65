"""A list of addresses that somebody has already: a text, or a table with what is known of each file beside it."""

import asyncio
import csv
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from curate import tables
from curate.crawl.fetch import Fetcher
from curate.crawl.interface import Page, Question, SourceError
from curate.crawl.sources.engine import clean, file_name
from curate.crawl.sources.folder import Pages
from curate.ingest.folder import full, shown
from curate.ingest.intake import Offer
from curate.rights import identify
from db.errors import ConfigError
from db.reasons import Reason, Refusal

_ROWS_AT_ONCE = 100
_ADDRESSES = ("image_url", "img_url", "file_url", "download_url", "url", "address", "src")
"""Names of the column of addresses. Where there are several, what names a file goes before what may name a page."""
_FIELDS = {
    "title": "title",
    "creator": "creator",
    "author": "creator",
    "creator_url": "creator_url",
    "author_url": "creator_url",
    "licence": "licence_said",
    "license": "licence_said",
    "licence_version": "version",
    "license_version": "version",
    "licence_url": "licence_url",
    "license_url": "licence_url",
    "attribution": "attribution",
    "page_url": "page_url",
    "source_page": "page_url",
    "foreign_landing_url": "page_url",
    "id": "source_id",
}
_UNREADABLE = (OSError, ValueError, csv.Error)

Row = Mapping[str, Any]


class UrlsFinder:
    """Reads a file of addresses, a page at a time. One that has changed since is read anew."""

    name = "urls"
    searches = False
    most_questions: int | None = None

    def __init__(self, file: Path) -> None:
        self._file = full(file)
        self._shown = shown(self._file)
        self._rows = _READERS.get(file.suffix.lower(), _text_rows)
        try:
            self._open()
            next(self._read(0), None)  # said now, a missing column costs nobody a run
        except _UNREADABLE as error:
            raise ConfigError(f"{self._shown}: {_words(error)}") from error

    def first(self, query: str) -> Question:  # noqa: ARG002 - a list answers no query
        """Begin with the first row of the file as it is, whatever the query."""
        return Question(self._shown, self._state)

    async def page(self, question: Question, fetcher: Fetcher) -> Page:  # noqa: ARG002 - nothing is fetched
        """Give the next addresses. Raises SourceError where the file cannot be read on."""
        try:
            return await asyncio.to_thread(self._page, question)
        except _UNREADABLE as error:
            raise SourceError(Refusal(Reason.UNREADABLE, f"{self._shown}: {_words(error)}")) from error

    def _page(self, question: Question) -> Page:
        if self._state != _state(self._file):
            self._open()
        if question.part != self._state:
            # Rows of a file that is no longer: where it was left means nothing in the one there is.
            return Page(more=[self.first("")])
        offers, cursor = self._pages.take(question.cursor)
        return Page([offer for offer in offers if offer is not None], cursor)

    def _open(self) -> None:
        self._state = _state(self._file)
        self._pages = Pages(self._read)

    def _read(self, start: int) -> Iterator[Offer | None]:
        return self._rows(self._file, self._shown, start)


@dataclass(frozen=True)
class _Columns:
    """What the columns of a table mean."""

    query: str
    address: str
    fields: Mapping[str, str]
    """By name; the others are kept as they are."""

    @classmethod
    def of(cls, names: Sequence[str], query: str) -> "_Columns":
        """Find the columns that are known. Raises ValueError where none has addresses."""
        by_key = {tables.key(name): name for name in reversed(names)}
        address = next((by_key[key] for key in _ADDRESSES if key in by_key), None)
        if address is None:
            said = ", ".join(names)[:200] or "nothing"
            raise ValueError(f"no column of addresses, such as {_ADDRESSES[0]} or url; its first line has: {said}")
        return cls(query, address, {name: _FIELDS[tables.key(name)] for name in names if tables.key(name) in _FIELDS})

    def offer(self, row: Row) -> Offer | None:
        """Make an offer of a row; None of one without an address."""
        found: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for name, value in ((name, _plain(value)) for name, value in row.items()):
            if value is None or value in ("", [], {}) or name == self.address:
                continue
            field = self.fields.get(name, "")
            if field and field not in found:
                found[field] = str(value)
            else:
                extra[clean(name)] = value
        address = row.get(self.address)
        return self._offer(clean(_decoded(address)), found, extra) if address else None

    def _offer(self, address: str, found: dict[str, Any], extra: dict[str, Any]) -> Offer | None:
        said = " ".join(filter(None, (found.pop("licence_said", ""), found.pop("version", ""))))
        if not address:
            return None
        return Offer(
            address=address,
            source=UrlsFinder.name,
            query=self.query,
            name=file_name(address),
            licence=identify(said, url=found.get("licence_url", "")),
            licence_said=said,
            extra=extra,
            **found,
        )


def _text_rows(file: Path, query: str, start: int) -> Iterator[Offer | None]:
    """Read one address a line. Blank lines and lines that begin with # are left out."""
    columns = _Columns.of(["url"], query)
    with file.open(encoding="utf-8-sig") as opened:
        lines = (line.strip() for line in tables.lines(opened))
        addresses = (line for line in lines if line and not line.startswith("#"))
        for address in islice(addresses, start, None):
            yield columns.offer({"url": address})


def _csv_rows(file: Path, query: str, start: int) -> Iterator[Offer | None]:
    """Read a table with a header."""
    with tables.opened(file, _ADDRESSES) as table:
        columns = _Columns.of(table.names, query)
        for row in table.rows(start):
            yield columns.offer(row)


def _parquet_rows(file: Path, query: str, start: int) -> Iterator[Offer | None]:
    try:
        import pyarrow as pa  # type: ignore[import-untyped] # noqa: PLC0415 - an extra, of 150 MB
        import pyarrow.parquet as pq  # type: ignore[import-untyped] # noqa: PLC0415
    except ImportError as error:
        raise ConfigError("reading Parquet needs pyarrow: pip install 'curate[parquet]'") from error
    try:
        with pq.ParquetFile(file) as opened:
            columns = _Columns.of(opened.schema_arrow.names, query)
            for row in _rows_of_groups(opened, columns.address, start):
                yield columns.offer(row)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error


def _rows_of_groups(opened: Any, address: str, start: int) -> Iterator[Row]:  # noqa: ANN401 - pyarrow has no types
    """Read row by row, passing over `start` rows, whole groups of them unread. Pictures in the table stay there."""
    names = [field.name for field in opened.schema_arrow if field.name == address or "binary" not in str(field.type)]
    for group in range(opened.num_row_groups):
        rows = opened.metadata.row_group(group).num_rows
        if start >= rows:
            start -= rows
            continue
        for batch in opened.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=names, use_threads=False):
            yield from batch.slice(min(start, batch.num_rows)).to_pylist()
            start = max(0, start - batch.num_rows)


_READERS: Mapping[str, Callable[[Path, str, int], Iterator[Offer | None]]] = {
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".parquet": _parquet_rows,
}


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a table holds
    """Bring a value to what JSON has for it; None for what it has nothing for."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {clean(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, bytes) or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _decoded(value: Any) -> str:  # noqa: ANN401 - whatever stands in the column of addresses
    return value.decode() if isinstance(value, bytes) else str(value)


def _state(file: Path) -> str:
    """What changes when a file does."""
    found = file.stat()
    return f"{found.st_size}-{found.st_mtime_ns}"


def _words(error: Exception) -> str:
    """Say what is wrong with a file in one line."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not written in UTF-8"
    words = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    return words.splitlines()[0]
