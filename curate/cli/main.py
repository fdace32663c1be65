"""`curate`: the list of commands, and the one place where an error becomes a line and an exit code."""

import io
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn, TextIO

import typer

from curate import __version__
from curate.cli import (
    audit,
    classes,
    collect,
    dataset,
    distill,
    evaluation,
    explain,
    images,
    label,
    learn,
    quality,
    report,
    robustness,
    rounds,
    simulate,
)
from curate.cli.harmless import harmless
from curate.cli.overview import Overview

INTERRUPTED = 130
UNHEARD = 141
"""Whoever read our output has gone, as `head` does: what a shell says of a program that SIGPIPE ended."""
TERMINATED = 143

app = typer.Typer(
    name="curate",
    cls=Overview,
    help="From a list of classes to a labelled, balanced image dataset and a model trained on it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and stop.", is_eager=True, callback=_show_version)
    ] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")] = False,
) -> None:
    """Options of every command; `--debug` is read in `run`, before the command line is parsed."""


for group in (
    dataset,
    report,
    classes,
    collect,
    images,
    quality,
    audit,
    label,
    learn,
    distill,
    evaluation,
    robustness,
    explain,
    rounds,
    simulate,
):
    group.register(app)


_terminated = threading.Event()
"""SIGTERM came."""


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    if setting := os.environ.get("CURATE_FAULT"):
        from db import faults

        faults.arm(setting)
    signal.signal(signal.SIGTERM, _on_terminate)
    # A stream that was closed before we began is None.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115 - open as long as the process
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that cannot show a letter gets its number; as it does on stderr anyway.
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and give its exit code; everything that can go wrong is told in one line on stderr."""
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        code = app(args=arguments, prog_name="curate", standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except (SystemExit, BrokenPipeError):  # so Typer and Rich say that nobody reads our output any more
        _drop(sys.stdout)
        return UNHEARD
    except typer.TyperException as error:
        _tell(_explain_usage(error))
        return 2
    except Exception as error:  # noqa: BLE001 - the last line of defence: told, not shown as a traceback
        _drop_unwritten()
        if debug:
            traceback.print_exc()
        else:
            _tell(_explain(error))
        return 2
    if code == INTERRUPTED:  # Typer's word for a KeyboardInterrupt
        _tell(f"{'terminated' if _terminated.is_set() else 'stopped'}; {_how_to_go_on(arguments)}")
        return TERMINATED if _terminated.is_set() else INTERRUPTED
    return code if isinstance(code, int) else 0


def _how_to_go_on(arguments: list[str]) -> str:
    if next((word for word in arguments if not word.startswith("-")), "") == "demo":
        return "a demo begins anew: name another folder, or remove this one"
    return "run it again to go on"


def _explain_usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        return f"error: which command? `{context.command_path} --help` lists them" if context else "error: no command"
    hint = f" (`{context.command_path} --help` says more)" if context else ""
    message = error.format_message().replace("Value error, ", "")
    return f"error: {message}{hint}".replace("\n", " ")


def _explain(error: Exception) -> str:
    if _is_expected(error):
        return f"error: {error}".replace("\n", " ")
    if isinstance(error, OSError) and error.strerror:
        where = "" if error.filename is None else f"{error.filename}: "
        return f"error: {where}{error.strerror} (`curate --debug …` shows where)".replace("\n", " ")
    kind = type(error).__name__
    return f"error: {kind}: {error} (a fault in curate; `curate --debug …` shows where)".replace("\n", " ")


def _is_expected(error: Exception) -> bool:
    # By name: importing the trainer's errors here would cost every command the price of the trainer.
    return any(cls.__name__ in {"CurateError", "TrainerError"} for cls in type(error).__mro__)


def _tell(line: str) -> None:
    try:
        print(f"curate: {harmless(line)}", file=sys.stderr, flush=True)  # noqa: T201 - stderr is the command line's
    except BrokenPipeError:
        _drop(sys.stderr)


def _drop_unwritten() -> None:
    try:
        sys.stdout.flush()
    except OSError:  # a full disk behind `>`
        _drop(sys.stdout)


def _drop(stream: TextIO) -> None:
    """Let what is left in a stream that nobody reads go nowhere: Python would fail to write it as it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _on_terminate(_number: int, frame: FrameType | None) -> None:
    # As Ctrl-C, for which an event loop has its own way: an exception out of a signal handler would come up in the
    # middle of whichever task happened to run.
    _terminated.set()
    interrupt = signal.getsignal(signal.SIGINT)
    (interrupt if callable(interrupt) else signal.default_int_handler)(signal.SIGINT, frame)
