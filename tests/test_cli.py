"""The command line as a whole: quick to start, explained everywhere, at home in any folder, pipe and terminal."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from curate import __version__
from curate.cli.main import app
from curate.cli.overview import STAGES
from curate.project import Project
from tests.conftest import Cli
from tests.environment import clean_env
from tests.pictures import write_folder

HEAVY = ("torch", "torchvision", "label_studio_sdk", "sqlalchemy", "pydantic", "httpx", "numpy", "PIL", "matplotlib")


def commands() -> Iterator[tuple[str, Any]]:
    """Every command and subcommand, by what one types to call it."""

    def walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - Typer's own copy of click
        yield path, command
        for name, sub in getattr(command, "commands", {}).items():
            yield from walk(f"{path} {name}".strip(), sub)

    yield from walk("", typer.main.get_command(app))


COMMANDS = dict(commands())
LEAVES = [path for path, command in COMMANDS.items() if not hasattr(command, "commands")]


def python(code: str, *arguments: str, cwd: Path | None = None) -> str:
    """What a program prints."""
    program = [sys.executable, "-c", code, *arguments]
    return subprocess.run(program, cwd=cwd, env=clean_env(), capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("arguments", ["--help", "--version", "train --help", "label push --help"])
def test_help_loads_nothing_heavy(arguments: str) -> None:
    """Asking for help costs no network, database or imaging library."""
    # Typer itself reads the types of a command's options with pydantic.
    heavy = set(HEAVY) - ({"pydantic"} if " " in arguments else set())
    code = f"""
import runpy, sys
try:
    runpy.run_module("curate", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
print("loaded:", [name for name in {heavy!r} if name in sys.modules])
"""
    assert python(code, *arguments.split()).splitlines()[-1] == "loaded: []"


def test_settings_and_errors_load_no_network(project: Project) -> None:
    """Showing the settings needs neither torch nor Label Studio's SDK."""
    code = f"""
import sys
from curate.cli.main import run
run(["config", "--project", {str(project.root)!r}])
print("loaded:", [name for name in ("torch", "label_studio_sdk", "numpy", "PIL") if name in sys.modules])
"""
    assert python(code).splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize("path", COMMANDS)
def test_everything_has_help(path: str) -> None:
    """A command says what it does, and each of its parameters what it means."""
    assert COMMANDS[path].help
    assert [p.name for p in COMMANDS[path].params if not getattr(p, "help", None)] == []


@pytest.mark.parametrize("path", LEAVES)
def test_every_command_takes_a_project_and_gives_json(path: str) -> None:
    """`--project` and `--json` mean the same everywhere."""
    options = {option for parameter in COMMANDS[path].params for option in parameter.opts}
    assert {"--project", "--json"} <= options


def test_the_version_is_shown(cli: Cli) -> None:
    """`curate --version` gives it alone, in no project at all."""
    assert (cli("--version").code, cli("--version").out) == (0, f"{__version__}\n")


def test_the_list_of_commands_is_whole(cli: Cli) -> None:
    """Every command stands there once, under its stage, with a whole sentence."""
    assert sorted(name for names in STAGES.values() for name in names) == sorted(
        path for path in COMMANDS if path and " " not in path
    )
    for arguments in (["--help"], ["label", "--help"], ["db", "--help"]):
        _, *lines = cli(*arguments, check=True).out.splitlines()  # the usage has dots of its own
        assert not [line for line in lines if "..." in line]


def test_help_of_a_command_is_shown(cli: Cli, tmp_path: Path) -> None:
    """Help is on stdout, ends with 0, and touches nothing."""
    ran = cli("crawl", "--help")
    assert (ran.code, ran.err) == (0, "")
    assert "--source" in ran.out
    assert list(tmp_path.iterdir()) == []


def test_a_project_is_found_upward(cli: Cli, project: Project, tmp_path: Path) -> None:
    """From any folder inside it, and from outside by name, relative or absolute."""
    inside = project.root / "images" / "deep"
    inside.mkdir(parents=True)
    told = cli("status", "--json", "--project", project.root, check=True).json
    assert cli("status", "--json", cwd=inside, check=True).json == told
    assert cli("status", "--json", "--project", "project", cwd=tmp_path, check=True).json == told
    assert cli("status", "--json", "--project", inside, cwd=Path("/"), check=True).json == told


def test_a_mistyped_project_is_not_the_one_around_it(cli: Cli, project: Project) -> None:
    """`forget 1 --project guitrs`, said inside another project, takes nothing out of that one."""
    ran = cli("status", "--project", "guitrs", cwd=project.root)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "curate: error: --project guitrs: there is no such folder\n"


def test_a_new_project_goes_where_project_says(cli: Cli, tmp_path: Path) -> None:
    """As with every command; and DIR beside it is one place too many."""
    ran = cli("init", "--project", "new", "--classes", "A,B", cwd=tmp_path)
    assert (ran.code, [path.name for path in tmp_path.iterdir()]) == (0, ["new"])
    both = cli("init", "one", "--project", "other", "--classes", "A,B", cwd=tmp_path)
    assert both.code == 2
    assert "leave out one" in both.err
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_project_can_be_moved(cli: Cli, project: Project, tmp_path: Path) -> None:
    """After the folder was renamed everything in it is found, and importing the same pictures again adds nothing."""
    folder = write_folder(tmp_path / "in", {"Red": range(3), "Green": range(2)})
    cli("import", folder, "--labels", "folder", "--project", project.root, check=True)
    before = cli("status", "--json", "--project", project.root, check=True).json
    project.database.close()
    moved = project.root.rename(tmp_path / "elsewhere é")
    assert cli("status", "--json", "--project", moved, check=True).json == before
    assert cli("doctor", "--json", "--project", moved, check=True).json == {"problems": []}
    assert cli("import", folder, "--json", "--project", moved, check=True).json["duplicates"] == 5


def piped(arguments: list[str], into: str, cwd: Path) -> tuple[int, str]:
    """Run a command with its stdout in a shell's pipe; gives its own exit code and what it said on stderr."""
    script = f'"$0" -m curate "$@" | {into}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", script, sys.executable, *arguments],
        cwd=cwd,
        env=clean_env(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", [["config"], ["config", "--json"], ["--help"]])
def test_a_reader_that_leaves_is_no_error(project: Project, arguments: list[str]) -> None:
    """With nobody behind the pipe a command ends as SIGPIPE would end it, and says nothing; `head` reads in peace."""
    assert piped(arguments, "true", project.root) == (141, "")
    assert piped(arguments, "head -1", project.root) in {(0, ""), (141, "")}


@pytest.mark.parametrize("arguments", [["config"], ["config", "--json"], ["--help"]])
def test_output_that_cannot_be_written_is_told(project: Project, arguments: list[str]) -> None:
    """A full disk behind `>` is one line and 2."""
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "curate", *arguments]
        done = subprocess.run(
            command, cwd=project.root, env=clean_env(), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert done.stderr.startswith("curate: error: No space left on device")
    assert done.stderr.count("\n") == 1


def test_closed_streams_are_borne(project: Project) -> None:
    """A command that is started without stdout and stderr still does its work."""
    script = '"$0" -m curate config dataset.target 77 >&- 2>&-'
    environment = clean_env()
    done = subprocess.run(["bash", "-c", script, sys.executable], cwd=project.root, env=environment, check=False)
    assert done.returncode == 0
    assert "target = 77" in (project.root / "curate.toml").read_text()


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_any_terminal_can_show_it(cli: Cli, make_project: Callable[..., Project], environment: dict[str, str]) -> None:
    """Class names beyond the terminal's letters are shown with their numbers, and JSON stays JSON."""
    project = make_project("Ärger", "日本", "🎸")
    text = cli("status", "--project", project.root, env=environment)
    assert (text.code, text.err) == (0, "")
    ran = cli("status", "--json", "--project", project.root, env=environment, check=True)
    assert list(ran.json["classes"]) == ["Ärger", "日本", "🎸"]
    failed = cli("export", "🎻", "out", "--project", project.root, env=environment)
    assert failed.code == 2
    assert failed.err.startswith("curate: error: no format")


def test_a_folder_of_any_name_can_hold_a_project(cli: Cli, tmp_path: Path) -> None:
    """A path that is no text can be made, worked in, and shown."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    assert cli("init", folder, "--classes", "A,B").code == 0
    pictures = write_folder(tmp_path / "in", {"A": range(1)})
    assert cli("import", pictures, "--project", folder, "--json", check=True).json["stored"] == 1
    assert cli("doctor", "--json", "--project", folder, check=True).json == {"problems": []}
    assert cli("db", "backup", "--project", folder).code == 0


def test_tracebacks_are_shown_when_asked_for(cli: Cli, tmp_path: Path) -> None:
    """`--debug`, wherever it stands, shows where an error came from; the exit code is the same."""
    for arguments in (("--debug", "status"), ("status", "--debug")):
        ran = cli(*arguments, cwd=tmp_path)
        assert ran.code == 2
        assert "Traceback (most recent call last)" in ran.err
        assert "ConfigError" in ran.err


@pytest.mark.parametrize("arguments", [["config"], ["config", "--json"], ["status", "--json"], ["--debug", "split"]])
def test_a_token_in_the_environment_is_never_shown(cli: Cli, project: Project, arguments: list[str]) -> None:
    """Neither in the settings, nor in what a command says, nor in a traceback."""
    ran = cli(*arguments, cwd=project.root, env={"CURATE_LABEL_STUDIO_TOKEN": "sesame-open-up"})
    assert "sesame" not in ran.out + ran.err
    assert "sesame" not in (project.root / "curate.toml").read_text()
