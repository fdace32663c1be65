"""Asking before something is given up for good."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from db.errors import LabelStudioError


@dataclass(frozen=True)
class Permission:
    """Whether what is gone may be replaced: said beforehand, or asked for."""

    given: bool = False
    ask: Callable[[str], bool] | None = None

    def require(self, gone: str, name: str = "") -> None:
        """Raise LabelStudioError unless it may."""
        if not self.given and (self.ask is None or not self.ask(f"{gone}. Make a new project in its place?")):
            options = f"--project-name {shlex.quote(name)} --new-project" if name else "--new-project"
            raise LabelStudioError(
                f"{gone}. Nothing was changed; `curate label start {options}` makes a new project in its place"
            )


NEVER = Permission()
"""Nothing may be given up."""
