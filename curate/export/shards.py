"""Files that hold many images: how they are divided, and what each says of an image."""

from collections.abc import Iterator, Sequence
from typing import Any

from curate.export.dataset import Exported

SHARD_BYTES = 1 << 28
"""Of images in one file, 256 MB: some files for each of a few reading processes, and none that is slow to fetch."""
NUMBERS = ("width", "height")
TEXTS = ("sha256", "format", "source", "url", "page_url", "title", "creator", "licence", "licence_url", "attribution")


def divided(images: Sequence[Exported], most: int) -> list[list[Exported]]:
    """Cut images into runs of at most `most` bytes, in their order; a larger image is a run of its own."""
    return list(_runs(images, most))


def _runs(images: Sequence[Exported], most: int) -> Iterator[list[Exported]]:
    run: list[Exported] = []
    size = 0
    for image in images:
        if run and size + image.bytes > most:
            yield run
            run, size = [], 0
        run.append(image)
        size += image.bytes
    if run:
        yield run


def facts(image: Exported) -> dict[str, Any]:
    """What is said of an image beside its class and side; nothing that only this project knows, such as its id."""
    return {name: getattr(image, name) for name in (*TEXTS, *NUMBERS)}
