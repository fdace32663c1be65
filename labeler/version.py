"""Which Label Studio answers: its routes move from one version to the next, and only one was tried."""

import re

from db.errors import LabelStudioError
from labeler.client import Server
from labeler.install import VERSION


def check_version(server: Server) -> str:
    """Give a line about a server that is newer than the one that was tried, or nothing.

    Raises LabelStudioError for one that is older, or of another generation.
    """
    release = server.release()
    found = re.match(r"(\d+)\.(\d+)", release)
    tried = re.match(r"(\d+)\.(\d+)", VERSION)
    assert tried is not None  # noqa: S101 - a constant
    there, here = (tuple(map(int, match.groups())) if match else (0, 0) for match in (found, tried))
    if there < here or there[0] != here[0]:
        raise LabelStudioError(
            f"Label Studio at {server.url} is version {release or 'unknown'}; curate needs {here[0]}.{here[1]} or later"
            f" of {here[0]}.x (it was tried with {VERSION}): update that server, or let curate run its own"
        )
    return (
        "" if there == here else f"Label Studio at {server.url} is version {release}; curate was tried with {VERSION}"
    )
