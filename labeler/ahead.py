"""Asking for what comes next while the last is worked on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield `items`, each fetched while the one before is worked on: the server reads as we write."""

    def take() -> list[T]:
        return list(islice(items, 1))

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(take)
        while found := following.result():
            following = pool.submit(take)
            yield from found
