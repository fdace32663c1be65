"""Images for a server that cannot read our disk: uploaded, each once, and found again by their names."""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from PIL import Image as Picture

from db.errors import LabelStudioError
from db.models import Image, LabellingProject
from labeler.client import Server
from labeler.dataset import Dataset

_File = tuple[str, bytes, str]
"""Name, bytes and type."""
_FILES, _BYTES = 50, 100_000_000
"""Of a request, at most: the server takes 100 files, and less than 250 MiB."""
_NAME = re.compile(r"-(\d+-[0-9a-f]{16})\.\w+$")
_EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "WEBP": "webp"}


class Uploads:
    """What is uploaded to one project. The server is asked for its list once: that grows with every file."""

    def __init__(self, server: Server, project: LabellingProject) -> None:
        self._server = server
        self._project = project

    def urls(self, dataset: Dataset, images: Sequence[Image]) -> dict[int, str]:
        """Upload those that are not there yet; give where the server shows each."""
        missing = [image for image in images if _name(image) not in self._there]
        for batch in _requests(_file(dataset, image) for image in missing):
            self._there.update(_by_name(self._server.upload(self._project.number, batch)))
        lost = [image.id for image in images if _name(image) not in self._there]
        if lost:
            at = self._server.url
            raise LabelStudioError(f"Label Studio at {at} lost the uploaded image {lost[0]}; run the push again")
        return {image.id: self._there[_name(image)] for image in images}

    @cached_property
    def _there(self) -> dict[str, str]:
        return _by_name(self._server.uploads(self._project.number))


def _by_name(urls: Iterable[str]) -> dict[str, str]:
    """Where the server shows each uploaded image, by the name we gave it."""
    found = ((_NAME.search(url), url) for url in urls)
    return {match[1]: url for match, url in found if match}


def _name(image: Image) -> str:
    """Name that an upload is found again by; the server puts a random word in front of it."""
    return f"{image.id}-{image.sha256[:16]}"


def _requests(files: Iterable[_File]) -> Iterator[list[_File]]:
    """Yield what one request each can carry; only a file that is larger alone goes over the bytes, by itself."""
    batch: list[_File] = []
    size = 0
    for file in files:
        if batch and (len(batch) == _FILES or size + len(file[1]) > _BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += len(file[1])
    if batch:
        yield batch


def _file(dataset: Dataset, image: Image) -> _File:
    data = dataset.store.read(image.sha256, image.format)
    extension = _EXTENSIONS.get(image.format)
    if extension is None:  # AVIF is refused by name, though every browser shows it
        data, extension = _as_png(data), "png"
    return f"{_name(image)}.{extension}", data, f"image/{'jpeg' if extension == 'jpg' else extension}"


def _as_png(data: bytes) -> bytes:
    out = io.BytesIO()
    with Picture.open(io.BytesIO(data)) as picture:
        picture.save(out, "PNG")
    return out.getvalue()
