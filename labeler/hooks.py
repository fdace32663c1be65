"""Our webhook in a Label Studio project: a word that something changed. It may get lost; a pull tells what it was.

It sends no data along, and is known again by its header, whatever its address is.
"""

from db.errors import LabelStudioError
from labeler.client import Server
from labeler.wire import RefusedError

HEADER = "Curate-Secret"
"""Carries what tells our webhook from a forged one."""
_SECONDS = 10.0
"""For each request: whoever presses Ctrl-C waits for it."""
_ACTIONS = (
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
    "TASKS_DELETED",
)


def hook_up(server: Server, project: int, url: str, secret: str) -> None:
    """Let the project call `url`, and nothing else of ours: what an earlier watch left is taken away.

    Raises LabelStudioError, also where the server may not call such an address.
    """
    unhook(server, project)
    body = {
        "project": project,
        "url": url,
        "headers": {HEADER: secret},
        "send_payload": False,
        "send_for_all_actions": False,
        "actions": list(_ACTIONS),
    }
    try:
        server.ask("POST", "/api/webhooks/", json=body, timeout=_SECONDS)
    except RefusedError:  # its word for an address, too
        raise LabelStudioError(f"Label Studio at {server.url} will not call {url}") from None


def unhook(server: Server, project: int) -> None:
    """Take our webhooks out of the project."""
    for hook in server.ask("GET", "/api/webhooks/", params={"project": str(project)}, timeout=_SECONDS):
        if HEADER in (hook.get("headers") or {}):
            server.ask("DELETE", f"/api/webhooks/{hook['id']}/", timeout=_SECONDS)
