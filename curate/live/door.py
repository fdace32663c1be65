"""Where the watch listens, and the secret that whoever calls it must know; both stay the same from time to time.

So a model that was connected in Label Studio's settings is there again at the next watch.
"""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from curate.project import Project
from db.errors import ConfigError
from db.files import write_atomically
from labeler.live import Door, LiveServer

_PORT = 9090
"""Where Label Studio's own documentation puts machine learning backends."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept, readable by the user alone."""

    secret: str = field(repr=False)
    port: int


def file_of(project: Project) -> Path:
    """Where it is kept."""
    return project.private / "watch" / "credentials.json"


def kept(project: Project) -> Kept:
    """Read what is kept; what is not there, or damaged, is made anew."""
    try:
        found = json.loads(file_of(project).read_text())
        return Kept(str(found["secret"]), int(found["port"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Kept(secrets.token_urlsafe(32), _PORT)


def keep(project: Project, secret: str, port: int) -> None:
    """Keep it."""
    file = file_of(project)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(file, json.dumps({"secret": secret, "port": port}).encode(), mode=0o600)


def listen(host: str, port: int | None, last: int, door: Door) -> LiveServer:
    """Listen at `port`; where none is asked for, at the last one or, if that is taken, at any. Raises ConfigError."""
    for wanted in (last, 0) if port is None else (port,):
        try:
            return LiveServer(host, wanted, door)
        except OSError as error:
            problem = error.strerror or str(error)
    raise ConfigError(f"cannot listen at {host} port {port or last}: {problem}; say another --host or --port")
