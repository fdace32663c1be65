"""What every command shares: its three common options, its surroundings, and how its outcome is shown."""

import functools
import inspect
import json as json_module
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from curate.progress import Progress
    from curate.project import Project

P = ParamSpec("P")

_PIPE_WIDTH = 240

DONE = 0
SOME_FAILED = 1
STOPPED = 2


@dataclass(frozen=True)
class Outcome:
    """What a command found: `data` is its JSON, `text` what people read instead; `code` the exit code."""

    data: dict[str, Any]
    text: "RenderableType"
    code: int = DONE
    told: bool = True
    """Whether it is printed: of several processes that work as one, one tells."""


@dataclass(frozen=True)
class Surroundings:
    """Where a command works, and how it talks while it does."""

    folder: Path | None
    json: bool

    def root(self) -> Path:
        """Folder of the project. Raises ConfigError when there is none."""
        from curate.project import find
        from db.errors import ConfigError

        if self.folder is None:
            return find(Path.cwd())
        # A mistyped name inside one project would else be taken for that project.
        if not self.folder.exists():
            raise ConfigError(f"--project {self.folder}: there is no such folder")
        return find(self.folder.absolute())

    def new(self, given: Path | None, usual: Path) -> Path:
        """Where a new project goes: its DIR, or what --project says. Raises ConfigError for both at once."""
        from db.errors import ConfigError

        if given is not None and self.folder is not None:
            raise ConfigError("DIR and --project both say where the new project goes: leave out one")
        return given or self.folder or usual

    def output(self, given: Path | None) -> Path | None:
        """Where a page or a picture is to go, in full. Raises StoreError, before any work, where it cannot."""
        from db.files import check_writable

        if given is None:
            return None
        check_writable(given.absolute())
        return given.absolute()

    def project(self) -> "Project":
        """Open the project."""
        from curate.project import open_project

        return open_project(self.root())

    @functools.cached_property
    def progress(self) -> "Progress":
        """Progress on stderr."""
        from curate.cli.terminal import Terminal

        return Terminal()


def command(
    app: typer.Typer, name: str | None = None
) -> Callable[[Callable[Concatenate[Surroundings, P], Outcome]], Callable[Concatenate[Surroundings, P], Outcome]]:
    """Make a function a command of `app`.

    Its first parameter is the surroundings; the others are its options, to which `--project` and `--json` are added.
    """

    def register(
        function: Callable[Concatenate[Surroundings, P], Outcome],
    ) -> Callable[Concatenate[Surroundings, P], Outcome]:
        def run(project: Path | None, json: bool, **options: Any) -> int:  # noqa: ANN401 - as the command says
            outcome = function(Surroundings(project, json), **options)  # type: ignore[call-arg]
            if outcome.told:
                show(outcome, as_json=json)
            return outcome.code

        signature = inspect.signature(function)
        parameters = [*list(signature.parameters.values())[1:], *_COMMON]
        # Typer reads a command's options from its signature and its annotations.
        run.__signature__ = signature.replace(parameters=parameters, return_annotation=int)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.__doc__ = inspect.getdoc(function)
        app.command(name or function.__name__)(run)
        return function

    return register


def show(outcome: Outcome, *, as_json: bool) -> None:
    """Print an outcome on stdout."""
    if as_json:
        ascii_only = sys.stdout.encoding.lower() != "utf-8"
        data = json_module.dumps(outcome.data, ensure_ascii=ascii_only, allow_nan=False, default=str)
        sys.stdout.write(data + "\n")
        return
    from rich.console import Console

    from curate.cli.harmless import Harmless
    from curate.cli.rows import width_for

    # Into a pipe or a file, rows stay whole however long they are; names may hold what looks like markup.
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, emoji=False)
    console.width = width_for(console, outcome.text)
    console.print(Harmless(outcome.text), highlight=False, markup=False, soft_wrap=True)


COMMON_HELP = {
    "project": "The project folder, instead of the one you are in.",
    "json": "Print one JSON object on stdout.",
}
_COMMON = [
    inspect.Parameter(
        "project",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Path | None, typer.Option(metavar="DIR", help=COMMON_HELP["project"])],
    ),
    inspect.Parameter(
        "json",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, typer.Option("--json", help=COMMON_HELP["json"])],
    ),
]
