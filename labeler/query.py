"""What is asked of the server's list of tasks, and what it answers."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

Filter = dict[str, Any]


@dataclass(frozen=True)
class Page:
    """Some tasks, and the server's clock when it answered, where it tells."""

    tasks: list[dict[str, Any]]
    moment: datetime | None


@dataclass(frozen=True)
class Census:
    """How many tasks and answers there are, skips not counted; the newest of these tasks; and the server's clock."""

    tasks: int
    answers: int
    newest: dict[str, Any] | None
    moment: datetime | None


def _filter(field: str, kind: str, operator: str, value: object) -> Filter:
    return {"filter": f"filter:tasks:{field}", "type": kind, "operator": operator, "value": value}


OURS = _filter("data.image_id", "Number", "empty", value=False)
"""Tasks that carry an `image_id`, as ours do and those that people make by hand do not."""


def between(low: int | None, high: int | None) -> list[Filter]:
    """Filter tasks by their numbers, both bounds included."""
    bounds = (("greater_or_equal", low), ("less_or_equal", high))
    return [_filter("id", "Number", operator, bound) for operator, bound in bounds if bound is not None]


def changed_since(moment: datetime | None) -> list[Filter]:
    """Filter tasks by when they, or their answers, changed."""
    if moment is None:
        return []
    value = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # any other form is a 500
    return [_filter("updated_at", "Datetime", "greater_or_equal", value)]


def filters(*items: Filter) -> dict[str, Any]:
    """All of these at once."""
    return {"conjunction": "and", "items": list(items)}


def clock(response: httpx.Response) -> datetime | None:
    """Read the server's clock."""
    try:
        return parsedate_to_datetime(response.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return None


def detail(body: Any) -> str:  # noqa: ANN401 - JSON, text or HTML
    """Give the reason in an error's body, if there is one for people."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return ""
    if not isinstance(body, dict):
        return ""
    parts = [body.get("detail"), body.get("validation_errors")]
    return " ".join(str(part) for part in parts if part)[:300]
