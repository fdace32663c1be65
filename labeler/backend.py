"""A machine learning backend, as Label Studio asks one: `/health`, `/setup`, `/predict`, `/versions`.

The model is handed in. It is asked for images of the dataset alone, found by the task's `image_id` or by the address
that a task of ours shows: no address out of a request is ever opened.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol

from sqlalchemy import select

from db.batches import chunks
from db.engine import Database
from db.models import Image, ImageState, LabellingTask
from labeler.prelabels import Shown, prediction

MOST_TASKS = 5000
"""Of one request. "Retrieve predictions" sends all chosen tasks at once."""
_AT_ONCE = 2
_WAIT_SECONDS = 30.0
_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model says of images; those that it says nothing of are missing. `version` is empty without a model."""

    version: str
    shown: Mapping[int, Shown]


class Model(Protocol):
    """What answers."""

    def version(self) -> str:
        """Name of what answers now, or nothing while there is nothing."""

    def versions(self) -> list[str]:
        """Name everything that could answer."""

    def answer(self, images: Sequence[int]) -> Answers:
        """Predict images, given by id."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A status and its JSON."""

    status: HTTPStatus
    body: dict[str, Any]


@dataclass(frozen=True)
class Backend:
    """Answers Label Studio's requests by `model`. Two are computed at a time; others wait half a minute, then fail."""

    database: Database
    model: Model
    _room: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(_AT_ONCE))

    def health(self) -> Reply:
        """Say that somebody is here."""
        return Reply(HTTPStatus.OK, {"status": "UP", "model_class": "curate"})

    def setup(self) -> Reply:
        """Say which model answers. What the request holds, an access token among it, is not looked at."""
        return Reply(HTTPStatus.OK, {"model_version": self.model.version()})

    def versions(self) -> Reply:
        """List the models."""
        return Reply(HTTPStatus.OK, {"versions": self.model.versions()})

    def predict(self, body: Any) -> Reply:  # noqa: ANN401 - any JSON
        """Predict the tasks of a request; a task that shows no image of ours gets no prediction."""
        tasks = body.get("tasks") if isinstance(body, dict) else None
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            return Reply(HTTPStatus.BAD_REQUEST, {"error": "a list of tasks was expected"})
        if len(tasks) > MOST_TASKS:
            return Reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": f"at most {MOST_TASKS} tasks a request"})
        images = self._images(tasks)
        if not self._room.acquire(timeout=_WAIT_SECONDS):
            return Reply(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "busy with other predictions; try again"})
        try:
            found = self.model.answer(sorted({image for image in images if image is not None}))
        finally:
            self._room.release()
        # A list a task: an empty one is a task without a prediction, where a missing one would shift all others.
        return Reply(HTTPStatus.OK, {"results": [_predictions(found, image) for image in images]})

    def _images(self, tasks: Sequence[dict[str, Any]]) -> list[int | None]:
        """Find each task's image, where it shows one that is stored here."""
        data = [task["data"] if isinstance(task.get("data"), dict) else {} for task in tasks]
        ids = [entry.get("image_id") for entry in data]
        urls = [entry.get("image") for entry in data]
        stored = self._stored(image_id for image_id in ids if _may_be_id(image_id))
        by_url = self._by_url({url for url in urls if isinstance(url, str)})
        return [
            image_id
            if _may_be_id(image_id) and image_id in stored
            else by_url.get(url)
            if isinstance(url, str)
            else None
            for image_id, url in zip(ids, urls, strict=True)
        ]

    def _stored(self, ids: Iterable[int]) -> set[int]:
        with self.database.read() as session:
            remembered = Image.state != ImageState.FORGOTTEN
            return {
                image_id
                for some in chunks(sorted(set(ids)))
                for image_id in session.scalars(select(Image.id).where(Image.id.in_(some), remembered))
            }

    def _by_url(self, urls: Iterable[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        with self.database.read() as session:
            for some in chunks(sorted(urls)):
                query = (
                    select(LabellingTask.data_url, LabellingTask.image_id)
                    .join(Image, Image.id == LabellingTask.image_id)
                    .where(LabellingTask.data_url.in_(some), Image.state != ImageState.FORGOTTEN)
                )
                found.update((row[0], row[1]) for row in session.execute(query))
        return found


def _may_be_id(value: Any) -> bool:  # noqa: ANN401 - any JSON
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST_ID


def _predictions(found: Answers, image: int | None) -> list[dict[str, Any]]:
    shown = None if image is None else found.shown.get(image)
    return [] if shown is None else [prediction(shown, found.version)]
