"""Tables that others wrote: CSV with a header, whatever divides its columns."""

import csv
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TextIO

_LONGEST_LINE = 1_000_000


@dataclass(frozen=True)
class Table:
    """An open table: the names of its columns, and its rows from the first one on."""

    names: Sequence[str]
    _lines: Iterator[str]
    _delimiter: str

    def rows(self, start: int = 0) -> Iterator[Mapping[str, str]]:
        """Read on, passing over `start` rows. Raises ValueError for a row with more values than there are columns."""
        table = csv.reader(self._lines, delimiter=self._delimiter, strict=True)
        for values in islice(table, start, None):
            if len(values) > len(self.names):
                raise ValueError(f"line {table.line_num + 1} has {len(values)} values for {len(self.names)} columns")
            yield dict(zip(self.names, values, strict=False))


@contextmanager
def opened(file: Path, known: Collection[str]) -> Iterator[Table]:
    """Open a table, divided by commas, semicolons (as spreadsheets of half of Europe do) or tabs.

    It is divided by whatever makes one of the columns `known`. Raises OSError, ValueError and csv.Error.
    """
    with file.open(encoding="utf-8-sig", newline="") as text:
        numbered = lines(text)
        head = next(numbered, "")
        delimiters = "\t,;" if file.suffix.lower() == ".tsv" else ",;\t"
        headers = [(delimiter, next(csv.reader([head], delimiter=delimiter), [])) for delimiter in delimiters]
        fitting = ((d, names) for d, names in headers if {key(name) for name in names} & set(known))
        delimiter, names = next(fitting, headers[0])
        yield Table(names, numbered, delimiter)


def lines(opened: TextIO) -> Iterator[str]:
    """Read lines. Raises ValueError for one that would fill the memory."""
    for line in iter(partial(opened.readline, _LONGEST_LINE), ""):
        if len(line) == _LONGEST_LINE:
            raise ValueError(f"a line has {_LONGEST_LINE} characters or more; this is no table or list")
        yield line


def key(name: str) -> str:
    """Give the name of a column as it is compared: in any case, with blanks or hyphens for underscores."""
    return re.sub(r"[\s-]+", "_", name.strip()).casefold()
