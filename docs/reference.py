"""Writes `docs/commands.md` from the command line itself: `python -m docs.reference`."""

from pathlib import Path
from typing import Any

import typer

from curate.cli.main import app

FILE = Path(__file__).parent / "commands.md"
_COMMON = {"project", "json"}


def reference() -> str:
    """Give the reference as it should be."""
    lines = [
        "# Commands",
        "",
        "Written by `python -m docs.reference` from the commands' own help; `make check` finds it out of date.",
        "",
        "Every command takes `--project DIR` (the project folder, instead of the one you are in), `--json` (one JSON",
        "object on stdout) and, anywhere, `--debug` (a traceback when something goes wrong). Exit codes: 0 done, 1",
        "some inputs could not be processed, 2 stopped with a one-line error, 130 on Ctrl-C, 143 on SIGTERM.",
    ]
    for name, command in _commands(typer.main.get_command(app), "curate"):
        lines += ["", f"## `{name}`", "", *_body(command, name)]
    return "\n".join(lines) + "\n"


def _commands(command: Any, name: str) -> list[tuple[str, Any]]:  # noqa: ANN401 - Typer vendors click's classes
    children = getattr(command, "commands", None)
    if children is None:
        return [(name, command)]
    own = [(name, command)] if command.invoke_without_command else []
    return own + [found for key, child in children.items() for found in _commands(child, f"{name} {key}")]


def _body(command: Any, name: str) -> list[str]:  # noqa: ANN401 - see above
    rows = [p for p in command.params if p.name not in _COMMON and p.name != "help"]
    usage = [_signature(p) if p.param_type_name == "argument" else f"[{_signature(p)}]" for p in rows]
    lines = ["```", " ".join([name, *usage]), "```", "", (command.help or "").strip()]
    if rows:
        lines += ["", "| | |", "|---|---|"]
        lines += [f"| `{_cell(p)}` | {p.help or ''}{_default(p)} |" for p in rows]
    return lines


def _signature(parameter: Any) -> str:  # noqa: ANN401 - see above
    metavar = parameter.metavar or parameter.name.upper()
    if parameter.param_type_name == "argument":
        return str(metavar if parameter.required or metavar.startswith("[") else f"[{metavar}]")
    if parameter.secondary_opts:
        return f"{parameter.opts[0]}/{parameter.secondary_opts[0]}"
    return str(parameter.opts[0] if parameter.default is False else f"{parameter.opts[0]} {metavar}")


def _cell(parameter: Any) -> str:  # noqa: ANN401 - see above
    return _signature(parameter).replace("|", "\\|")


def _default(parameter: Any) -> str:  # noqa: ANN401 - see above
    if parameter.default in {None, False, ""}:
        return ""
    return f" Default: {parameter.opts[0] if parameter.secondary_opts else parameter.default}."


if __name__ == "__main__":
    FILE.write_text(reference(), encoding="utf-8")
