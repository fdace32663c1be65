"""Images for a server that cannot read our disk: uploaded, each once, and found again by their names."""

import io
import re
from collections.abc import Iterable, Sequence
from functools import cached_property

from PIL import Image as Picture

from db.batches import chunks
from db.errors import LabelStudioError
from db.models import Image, LabellingProject
from labeler.client import Server
from labeler.dataset import Dataset

_FILES = 50
"""The server takes 100 files and 250 MB a request."""
_NAME = re.compile(r"-(\d+-[0-9a-f]{16})\.\w+$")
_EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "WEBP": "webp"}


class Uploads:
    """What is uploaded to one project. The server is asked for its list once: that grows with every file."""

    def __init__(self, server: Server, project: LabellingProject) -> None:
        self._server = server
        self._project = project

    def urls(self, dataset: Dataset, images: Sequence[Image]) -> dict[int, str]:
        """Upload those that are not there yet; give where the server shows each."""
        for batch in chunks([image for image in images if _name(image) not in self._there], _FILES):
            self._there.update(_by_name(self._server.upload(self._project.number, [_file(dataset, i) for i in batch])))
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


def _file(dataset: Dataset, image: Image) -> tuple[str, bytes, str]:
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
