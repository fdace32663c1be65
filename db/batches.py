"""Long lists, in pieces that one statement can carry."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

IN_LIMIT = 500
"""Values bound in one `IN (…)`: well under the limit on bound parameters of every SQLite build."""


def chunks(items: Iterable[T], size: int = IN_LIMIT) -> Iterator[list[T]]:
    """Yield `items` in runs of at most `size`."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
