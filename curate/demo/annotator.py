"""The demo's person: answers tasks over Label Studio's API, as the page does, and errs now and then."""

import random
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, Self

import httpx

from db.errors import LabelStudioError
from labeler.client import Server
from labeler.config import choice_result

MISTAKES = 0.03
"""Share of answers that are wrong: people who label hundreds of pictures slip about this often."""
_AT_ONCE = 20
_PAGE = 500


class Annotator:
    """Labels up to `most` tasks of a project. `truth` says what is on an image, by the SHA-256 of its file."""

    def __init__(
        self, server: Server, project: int, truth: Mapping[str, str], classes: Sequence[str], seed: int, most: int
    ) -> None:
        headers = {"Authorization": server.authorization()}
        self._http = httpx.Client(base_url=server.url, headers=headers, timeout=60, trust_env=False)
        self._project = project
        self._truth = truth
        self._classes = classes
        self._rng = random.Random(seed)  # noqa: S311 - a demo, not a secret
        self._left = most
        self._answered: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def work(self) -> None:
        """Answer the next few tasks. Raises LabelStudioError."""
        try:
            for task in self._open_tasks()[: min(_AT_ONCE, self._left)]:
                self._answer(task)
        except httpx.HTTPError as error:
            raise LabelStudioError(f"the demo's annotator broke off: {error}") from error

    def _open_tasks(self) -> list[dict[str, Any]]:
        """Tasks that were not answered yet, the least sure prediction first, as the page serves them."""
        found: list[dict[str, Any]] = []
        page, total = 1, 1
        while len(found) < total:
            parameters = {"project": self._project, "page": page, "page_size": _PAGE, "fields": "all"}
            answer = self._call("GET", "/api/tasks", params={**parameters, "include": "id,data,predictions"})
            found, total, page = found + answer["tasks"], answer["total"], page + 1
        waiting = [task for task in found if task["id"] not in self._answered]
        return sorted(waiting, key=lambda task: min((p["score"] for p in task["predictions"]), default=0.0))

    def _answer(self, task: dict[str, Any]) -> None:
        # Images are stored under their SHA-256, so the file's name tells what this person sees on it.
        seen = self._truth[PurePosixPath(task["data"]["image"]).stem]
        said = self._slip(seen) if self._rng.random() < MISTAKES else seen
        shown = max(task["predictions"], key=lambda prediction: prediction["id"], default=None)
        annotation = {
            "result": choice_result(said),
            "lead_time": round(self._rng.uniform(0.8, 4.0), 2),
            "parent_prediction": shown["id"] if shown else None,
        }
        self._call("POST", f"/api/tasks/{task['id']}/annotations/", json=annotation)
        self._answered.add(task["id"])
        self._left -= 1

    def _slip(self, seen: str) -> str:
        return self._rng.choice([name for name in self._classes if name != seen])

    def _call(self, method: str, path: str, **options: Any) -> Any:  # noqa: ANN401 - httpx's options, the API's JSON
        response = self._http.request(method, path, **options)
        response.raise_for_status()
        return response.json()
