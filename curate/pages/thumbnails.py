"""Small copies of images, as addresses that hold them: a page with these needs no other file."""

import base64
import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from PIL import Image as Pictures

from curate.pages.pictures import Picture
from db.store import ImageStore
from trainer.pixels import to_rgb

_LARGE, _SMALL = 320, 160
_FEW = 2_000
"""Up to so many, thumbnails are large enough to compare copies by; beyond, the file would be: 2,000 are 25 to 50 MB."""
_QUALITY = 78
_AHEAD = 64
"""Thumbnails made before they are asked for: what memory holds, about 1 MB."""
_MOST_THREADS = 8
"""A picture of 50 megapixels takes 150 MB while it is decoded."""

T = TypeVar("T")
Shown = Mapping[int, str | None]
"""Addresses by image id; None where the file is damaged or gone."""


def side_for(count: int) -> int:
    """Longest side of each of `count` thumbnails, pixels."""
    return _LARGE if count <= _FEW else _SMALL


def data_address(data: bytes, kind: str) -> str:
    """Give an address that holds a file of media type `kind`."""
    return f"data:{kind};base64," + base64.b64encode(data).decode()


def image_address(image: Pictures.Image) -> str:
    """Give an address that holds an image, as JPEG."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_QUALITY)
    return data_address(out.getvalue(), "image/jpeg")


def shrunk(read: Callable[[], bytes], side: int) -> Pictures.Image | None:
    """Give the thumbnail, RGB, of an encoded image, or None where it cannot be read or decoded."""
    try:
        with Pictures.open(io.BytesIO(read())) as opened:
            opened.draft("RGB", (2 * side, 2 * side))  # a JPEG is decoded no larger than needed
            small = to_rgb(opened)
            small.thumbnail((side, side), reducing_gap=3.0)
            return small
    except Exception:  # noqa: BLE001 - decoders raise all sorts of things; none of them is the page's business
        return None


@dataclass(frozen=True)
class Thumbnails:
    """Makes thumbnails of stored images, no side longer than `side` pixels."""

    store: ImageStore
    side: int

    def of(self, picture: Picture) -> str | None:
        """Give the thumbnail of an image as a `data:` address, or None: one broken file must not cost the page."""
        small = self.small(picture)
        return None if small is None else image_address(small)

    def small(self, picture: Picture) -> Pictures.Image | None:
        """Give the thumbnail itself, RGB, or None."""
        return shrunk(lambda: self.store.read(picture.sha256, picture.format), self.side)

    def along(
        self, items: Iterable[T], of: Callable[[T], Sequence[Picture]], advance: Callable[[int], None]
    ) -> Iterator[tuple[T, Shown]]:
        """Give each item with the thumbnails of its pictures, made on all cores a little ahead; `advance` counts."""
        waiting: deque[tuple[T, dict[int, Future[str | None]]]] = deque()
        under_way = 0

        def first() -> tuple[T, Shown]:
            item, futures = waiting.popleft()
            found = {number: future.result() for number, future in futures.items()}
            advance(len(found))
            return item, found

        with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as pool:
            for item in items:
                waiting.append((item, {picture.id: pool.submit(self.of, picture) for picture in of(item)}))
                under_way += len(waiting[-1][1])
                while waiting and under_way > _AHEAD:
                    ready = first()
                    under_way -= len(ready[1])
                    yield ready
            while waiting:
                yield first()
