"""Label Studio's API as far as we use it: the SDK where it serves, plain HTTP where it does not."""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from db.errors import LabelStudioError
from labeler.query import OURS, Census, Page, between, changed_since, clock, filters
from labeler.wire import GoneError, Wire

_PAGE = 1000
_AS_SENT = {"resolve_uri": "false"}
_CHANGED = "id,updated_at,annotations,result,was_cancelled,completed_by,lead_time,created_at,parent_prediction"
"""Fields of a task and of its annotations alike: the server filters both by one list."""
_SETTINGS = "id,label_config,expert_instruction,model_version,sampling,maximum_annotations,overlap_cohort_percentage"


class Server(Wire):
    """One Label Studio, by what we ask of it."""

    def check(self) -> None:
        """Raise LabelStudioError unless a Label Studio answers and takes the token."""
        try:
            found = self._json("GET", "/api/current-user/whoami")
        except GoneError:  # of any other program, which has no such page
            raise self._no_label_studio(httpx.codes.NOT_FOUND) from None
        if "email" not in found:
            raise self._no_label_studio(httpx.codes.OK)

    def release(self) -> str:
        """Its version; empty where it does not say."""
        try:
            return str(self._json("GET", "/api/version").get("release", ""))
        except (GoneError, AttributeError):
            return ""

    def people(self) -> list[tuple[str, str]]:
        """Give the number and e-mail address of everybody who has an account."""
        return [(str(person["id"]), str(person["email"])) for person in self._json("GET", "/api/users")]

    def project(self, number: int) -> dict[str, Any]:
        """Give a project's settings, as the API has them. Raises GoneError for one that is not there."""
        # Without a list of fields the server counts all tasks and answers as well.
        return dict(self._json("GET", f"/api/projects/{number}/", params={"include": _SETTINGS}))

    def project_exists(self, number: int) -> bool:
        """Whether a project is there."""
        try:
            self._call("GET", f"/api/projects/{number}/", params={"include": "id"})  # else it counts all tasks
        except GoneError:
            return False
        return True

    def census(self, project: int, low: int | None = None, high: int | None = None) -> Census:
        """Count tasks that carry an `image_id`, as ours do and those that people make by hand do not.

        Where `low` and `high` are given, of those whose numbers lie between them, both included.
        """
        query = {"filters": filters(OURS, *between(low, high)), "ordering": ["-tasks:id"]}
        one = {"project": str(project), "page_size": "1", "include": "id,data", "query": json.dumps(query)}
        response = self._call("GET", "/api/tasks", params=one | _AS_SENT)
        answer = self._read(response)
        return Census(answer["total"], answer["total_annotations"], next(iter(answer["tasks"]), None), clock(response))

    def create_project(self, title: str, config: str, description: str) -> int:
        """Make a project and give its number. Titles have 3 to 50 characters there."""
        with self._by_sdk() as sdk:
            project = sdk.projects.create(title=f"{title[:50]:_<3}", label_config=config, description=description)
        if project.id is None:
            raise LabelStudioError(f"Label Studio at {self.url} made a project without a number")
        return project.id

    def project_described(self, words: str) -> int | None:
        """Give the number of a project whose description holds `words`, if there is one."""
        answer = self._json("GET", "/api/projects/", params={"include": "id,description", "page_size": "10000"})
        found = [row["id"] for row in answer["results"] if words in (row.get("description") or "")]
        return int(found[0]) if found else None

    def update_project(self, project: int, **settings: Any) -> None:  # noqa: ANN401 - the SDK's settings
        """Change settings of a project."""
        with self._by_sdk() as sdk:
            sdk.projects.update(project, **settings)

    def serve_folder(self, project: int, folder: str) -> None:
        """Let the project's tasks show files below `folder`, an absolute path on the server's machine."""
        with self._by_sdk() as sdk:
            storages = list(sdk.import_storage.local.list(project=project))
            for storage in storages:
                if storage.path != folder and storage.id is not None:  # the project folder was moved
                    sdk.import_storage.local.delete(storage.id)
            if not any(storage.path == folder for storage in storages):
                sdk.import_storage.local.create(project=project, path=folder, title="images", use_blob_urls=True)

    def import_tasks(self, project: int, data: Sequence[dict[str, Any]]) -> list[int]:
        """Make a task for each `data`, all or none, and give their numbers in the same order."""
        tasks = [{"data": entry} for entry in data]
        answer = self._json("POST", f"/api/projects/{project}/import", params={"return_task_ids": "true"}, json=tasks)
        numbers = [int(number) for number in answer["task_ids"]]
        if len(numbers) != len(data):
            raise LabelStudioError(
                f"Label Studio made {len(numbers)} tasks of {len(data)}; run `curate label push` again"
            )
        return numbers

    def update_task(self, number: int, data: dict[str, Any]) -> None:
        """Replace a task's data. One that is gone is no error."""
        with suppress(GoneError):
            self._call("PATCH", f"/api/tasks/{number}/", json={"data": data})

    def ensure_view(self, project: int, title: str, column: str) -> None:
        """Make a view that shows the tasks whose `column` says something, unless one of this title is there."""
        views = self._json("GET", "/api/dm/views", params={"project": str(project)})
        if any(view.get("data", {}).get("title") == title for view in views):
            return
        item = {"filter": f"filter:tasks:{column}", "operator": "empty", "type": "String", "value": False}
        data = {"title": title, "type": "list", "filters": {"conjunction": "and", "items": [item]}}
        self._call("POST", "/api/dm/views", json={"project": project, "data": data})

    def answer_count(self, number: int) -> int:
        """How many answers a task has, skips among them; a task that is gone has none."""
        task = self._task(number)
        return int(task["total_annotations"] + task["cancelled_annotations"]) if task else 0

    def shows(self, number: int, project: int, image_id: int) -> bool:
        """Whether a task is there, and still the one for this image: a server that was reset gives numbers anew."""
        task = self._task(number)
        return task is not None and (task["project"], task["data"].get("image_id")) == (project, image_id)

    def _task(self, number: int) -> dict[str, Any] | None:
        with suppress(GoneError):
            return dict(self._json("GET", f"/api/tasks/{number}/"))
        return None

    def delete_task(self, number: int) -> None:
        """Delete a task with its answers. One that is gone already is no error."""
        with suppress(GoneError):
            self._call("DELETE", f"/api/tasks/{number}/")

    def delete_annotation(self, number: int, unless_changed_since: datetime) -> bool:
        """Delete an answer, unless it was changed later than that; tell whether it is gone."""
        with suppress(GoneError):
            changed = datetime.fromisoformat(self._json("GET", f"/api/annotations/{number}/")["updated_at"])
            if changed > unless_changed_since:
                return False
            self._call("DELETE", f"/api/annotations/{number}/")
        return True

    def used_choices(self, project: int, control: str) -> set[str]:
        """Choices of a control that answers and drafts of the project name, as the server has counted them."""
        counts = self._json("GET", f"/api/projects/{project}/summary/")
        kept = (counts.get("created_labels"), counts.get("created_labels_drafts"))
        return {name for labels in kept for name, number in ((labels or {}).get(control) or {}).items() if number}

    def merge_tasks(self, project: int, numbers: Sequence[int]) -> None:
        """Let the server bring the answers of tasks with the same data together at one, and delete the others."""
        body = {"project": str(project), "selectedItems": {"all": False, "included": list(numbers)}}
        self._call("POST", "/api/dm/actions", params={"id": "remove_duplicates", "project": str(project)}, json=body)

    def import_predictions(self, project: int, predictions: Sequence[dict[str, Any]]) -> None:
        """Add predictions to tasks. Invalid ones are dropped by the server without a word: so they are counted."""
        answer = self._json("POST", f"/api/projects/{project}/import/predictions", json=list(predictions))
        created = answer["created"]
        if created != len(predictions):
            raise LabelStudioError(
                f"Label Studio kept {created} of {len(predictions)} predictions; does its labelling page still have the"
                " classes of curate.toml? `curate label start` puts them back"
            )

    def prediction_counts(self, project: int) -> dict[str, int]:
        """How many predictions of each model version the project holds."""
        return dict(self._json("GET", f"/api/projects/{project}/model-versions/"))

    def delete_predictions(self, project: int, version: str) -> None:
        """Remove the predictions of one model version."""
        self._call("DELETE", f"/api/projects/{project}/model-versions/", json={"model_version": version})

    def task_data(self, project: int, low: int | None = None, high: int | None = None) -> Iterator[Page]:
        """Yield numbers, data and counts of answers of the tasks that `census` counts."""
        include = "id,data,total_annotations,cancelled_annotations"
        return self._pages(project, {"include": include, **_AS_SENT}, [OURS, *between(None, high)], low)

    def changed_tasks(self, project: int, since: datetime | None) -> Iterator[Page]:
        """Yield tasks with all their annotations, those changed at or after `since` alone if it is given."""
        return self._pages(project, {"fields": "all", "include": _CHANGED, **_AS_SENT}, changed_since(since))

    def _pages(
        self, project: int, parameters: dict[str, str], wanted: Sequence[dict[str, Any]], low: int | None = None
    ) -> Iterator[Page]:
        # By numbers, not by pages of the server's: of these, a task deleted meanwhile lets the next page begin too far.
        # Not by the SDK's pager either: it takes a 404 for the end, and so a deleted project for an empty one.
        more = {"project": str(project), "page_size": str(_PAGE)}
        while True:
            query = {"filters": filters(*wanted, *between(low, None)), "ordering": ["tasks:id"]}
            response = self._call("GET", "/api/tasks", params={**parameters, **more, "query": json.dumps(query)})
            answer = self._read(response)
            page = Page(answer["tasks"], clock(response))
            yield page
            if len(page.tasks) >= answer["total"] or not page.tasks:
                return
            low = page.tasks[-1]["id"] + 1

    def upload(self, project: int, files: Sequence[tuple[str, bytes, str]]) -> list[str]:
        """Upload image files: name, bytes and type of each, a hundred at most; give their addresses."""
        # Every file under a field of its own: of several under one name the server keeps the last alone.
        fields = [(f"file{i}", file) for i, file in enumerate(files)]
        path = f"/api/projects/{project}/import"
        answer = self._json("POST", path, params={"commit_to_project": "false"}, files=fields)
        return self._uploaded(project, ids=json.dumps(answer["file_upload_ids"]))

    def uploads(self, project: int) -> list[str]:
        """Addresses, below the server's, of the files uploaded to a project."""
        return self._uploaded(project, all="true")

    def _uploaded(self, project: int, **which: str) -> list[str]:
        rows = self._json("GET", f"/api/projects/{project}/file-uploads", params=which)
        return [f"/data/{row['file']}" for row in rows]

    def delete_uploads(self, project: int, urls: Collection[str]) -> None:
        """Delete uploaded files, given by their addresses as `uploads` has them."""
        rows = self._json("GET", f"/api/projects/{project}/file-uploads", params={"all": "true"})
        ids = [row["id"] for row in rows if f"/data/{row['file']}" in urls]
        self._call("DELETE", f"/api/projects/{project}/file-uploads", json={"file_upload_ids": ids})


def is_loopback(url: str) -> bool:
    """Whether a server of this address would be on this machine."""
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}
