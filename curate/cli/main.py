"""`curate`: the list of commands, and the one place where an error becomes a line and an exit code."""

import os
import signal
import sys
import traceback
from types import FrameType
from typing import Annotated, NoReturn

import click
import typer

from curate import __version__
from curate.cli import collect, dataset, label, learn

INTERRUPTED = 130
TERMINATED = 143

app = typer.Typer(
    name="curate",
    help="From a list of classes to a labelled, balanced image dataset and a model trained on it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and stop.", is_eager=True)] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")] = False,  # noqa: ARG001 - read in main()
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


for group in (dataset, collect, label, learn):
    group.register(app)


class Terminated(SystemExit):
    """SIGTERM came. A SystemExit, which an event loop lets through at once, and cleans up behind."""


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    if setting := os.environ.get("CURATE_FAULT"):
        from db import faults

        faults.arm(setting)
    signal.signal(signal.SIGTERM, _on_terminate)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and give its exit code; everything that can go wrong is told in one line on stderr."""
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        code = app(args=arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        _tell("stopped; run it again to go on")
        return INTERRUPTED
    except Terminated:
        _tell("terminated; run it again to go on")
        return TERMINATED
    except Exception as error:  # noqa: BLE001 - the last line of defence: told, not shown as a traceback
        if debug:
            traceback.print_exc()
        else:
            _tell(_explain(error))
        return 2
    return code if isinstance(code, int) else 0


def _explain(error: Exception) -> str:
    if _is_expected(error):
        return f"error: {error}"
    kind = type(error).__name__
    return f"error: {kind}: {error} (a fault in curate; `curate --debug …` shows where)".replace("\n", " ")


def _is_expected(error: Exception) -> bool:
    # By name: importing the trainer's errors here would cost every command the price of the trainer.
    return any(cls.__name__ in {"CurateError", "TrainerError"} for cls in type(error).__mro__)


def _tell(line: str) -> None:
    print(f"curate: {line}", file=sys.stderr)  # noqa: T201 - stderr is the command line's


def _on_terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated
