"""What stops a command: exit code 2 and exactly one line that says what is wrong, before anything is changed."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from curate.cli.main import run
from curate.crawl.plan import mistakable, targets
from curate.project import Project
from tests.conftest import Cli, Ran
from tests.environment import clean_env
from tests.pictures import write_folder
from tests.test_cli import LEAVES

READ_ONLY = 'mount --bind "$0" "$0"; mount -o remount,ro,bind "$0"; cd "$0"; exec "$@"'


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """The command line in this process: a second a command is much for a long table of them."""

    def call(*arguments: str, cwd: Path) -> Ran:
        monkeypatch.chdir(cwd)
        code = run(list(arguments))
        return Ran(code, *capfd.readouterr())

    return call


def told(ran: Ran) -> str:
    """The one line that an error is, after `curate: error: `."""
    assert ran.code == 2, ran
    assert ran.out == ""
    assert ran.err.startswith("curate: error: "), ran.err
    assert ran.err.count("\n") == 1, ran.err
    assert ran.err.endswith("\n")
    assert "a fault in curate" not in ran.err
    return ran.err.removeprefix("curate: error: ")


@pytest.mark.parametrize("path", [path for path in LEAVES if path not in {"init", "demo"}])
def test_outside_any_project_commands_say_so(here: Cli, tmp_path: Path, path: str) -> None:
    """The line names the folder and what to do; nothing is made there."""
    needed = {
        "import": ["in"],
        "export": ["csv", "out"],
        "export-model": ["model.onnx"],
        "predict": ["x.jpg"],
        "explain": ["x.jpg"],
        "compare": ["one", "other"],
        "why": ["1"],
        "forget": ["1"],
        "label restore": ["backup.tar.gz"],
        "classes add": ["A"],
        "classes rename": ["A", "B"],
        "classes merge": ["A", "B"],
        "classes remove": ["A"],
    }
    line = told(here(*path.split(), *needed.get(path, []), cwd=tmp_path))
    assert f"no curate.toml in {tmp_path}" in line
    assert "`curate init`" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "which command? `curate --help` lists them"),
        ("db", "which command? `curate db --help` lists them"),
        ("nosuch", "No such command 'nosuch'"),
        ("status --nosuch", "No such option: --nosuch (`curate status --help` says more)"),
        ("import", "Missing argument 'DIR'"),
        ("next 0", "greater than or equal to 1"),
        ("next many", "'[N]'"),
        ("crawl --max x", "--max"),
        ("config nosuch", "unknown key 'nosuch'"),
        ("config dataset.targt", "did you mean 'dataset.target'?"),
        ("config dataset.targt 3", "did you mean 'dataset.target'?"),
        ("config dataset.target many", "curate.toml: dataset.target: Input should be a valid integer"),
        ("config train.arch resnet51", "no architecture 'resnet51'; there is for instance resnet50"),
        ("config train.recipe fastest", "no recipe 'fastest'; there are article"),
        ("config train.recipe my.toml", "cannot read the recipe"),
        ("config dataset.target 1", "curate.toml: dataset.target: "),
        ("config dataset.validation 250", "must be less than target"),
        ("config crawl.openverse.url ftp://x", "'ftp://x' is no http(s) address"),
        ("config crawl.sources openverse", 'Input should be a list, such as ["a", "b"]'),
        ("config database.url postgresql://x", "is not of the form sqlite:///FILE"),
        ("import nowhere", "nowhere is no folder"),
        ("import images --labels names", "--labels"),
        ("crawl --source gopher", "no source 'gopher'; there is: openverse"),
        ("crawl --source urls=nowhere.txt", "no file nowhere.txt"),
        ("crawl --source folder=nowhere", "no folder nowhere"),
        ("crawl purple --source urls=curate.toml", "no class 'purple'; there is: Red, Green, Blue"),
        ("split", "nothing is labelled yet"),
        ("train", "make one with `curate split`"),
        ("export tarball out", "no format 'tarball'; there is: imagefolder, csv"),
        ("export csv out", "make one with `curate split`"),
        ("audit -o images", "file 'images' is a directory"),
        ("dedup --review -o images", "file 'images' is a directory"),
        ("audit -o curate.toml/page.html", "cannot write"),
        ("simulate -o curate.toml/curves.png", "curves.png: Not a directory."),
        ("audit --send", "`curate label start`"),
        ("loop", "bring images in with `curate crawl` or `curate import`"),
        ("crawl --licence opn", "'--licence': 'opn' is not one of 'any', 'open', 'commercial'"),
        ("predict", "which pictures?"),
        ("init", "curate.toml exists already"),
        ("init new --preset piano", "no preset 'piano'; there is: guitars"),
        ("init new --classes a,A", "two class names are the same"),
        ("init new --classes a", "classes: a dataset has two classes at least"),
        ("init new --classes a/b,c", "'a/b' may hold no '/', no '\\', no control character, and no leading dot\n"),
        ('config crawl.sources ["opnverse"]', "crawl.sources.0: Input should be 'openverse', 'commons'"),
        ("config dataset.seed 99999999999999", "dataset.seed: Input should be less than or equal to"),
        ("config dataset.target 9999999999", "dataset.target: Input should be less than or equal to"),
        ("db restore curate.toml", "curate.toml is no SQLite database. Name another copy"),
        ("db restore images", "images cannot be read: Is a directory. Name another copy"),
        ("config crawl.contact (me)", "crawl.contact: '(me)' cannot go into a User-Agent: plain ASCII"),
        ("status --crawl --plot loop.png", "--crawl, --quality, --labelling and --loop each show something else"),
        ("doctor --repair --sources", "say one"),
        ("dedup --split 99999999999999999999", "there is no group 99999999999999999999"),
        ("train --seed 99999999999999", "--seed 99999999999999"),
        ("init new", "which classes?"),
        ("init curate.toml/new --classes a,b", "curate.toml/new"),
    ],
)
def test_a_wrong_request_is_told_in_one_line(here: Cli, project: Project, arguments: str, words: str) -> None:
    """Whatever is asked for in vain, the line says what is wrong with it, and no file is changed."""
    project.database.close()
    before = tree(project.root)
    assert words in told(here(*arguments.split(), cwd=project.root))
    assert tree(project.root) == before


def test_a_crawl_without_a_source_is_no_crawl_that_is_done(here: Cli, project: Project) -> None:
    """Where `crawl.sources` is empty nobody was asked, and that is said."""
    assert here("config", "crawl.sources", "[]", cwd=project.root).code == 0
    assert "no source to ask" in told(here("crawl", cwd=project.root))
    assert "no source to ask" in told(here("doctor", "--sources", cwd=project.root))
    assert "an empty query finds nothing" in told(here("crawl", " ", "--source", "openverse", cwd=project.root))


def test_a_query_that_nearly_is_a_class_is_told(project: Project) -> None:
    """It is asked for as it stands, since anything can be; but whoever misspelt a class hears of it."""
    wanted = targets(project, ["gren", "green guitar", "blue"], ["openverse"], 5)
    assert mistakable(project, wanted) == {"gren": "Green"}


def tree(folder: Path) -> dict[str, bytes]:
    """All files below `folder`, but the locks and the write-ahead log that SQLite makes as it reads."""
    passing = (".lock", "-wal", "-shm")
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(passing))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("arguments", ["status", "config", "config dataset.target", "config dataset.seed 3"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[dataset\ntarget = 3", "no valid TOML"),
        (b"\xff\xfe", "no valid TOML"),
        (b"[dataset]", "classes: Field required"),
        (b"[dataset]\ntargt = 3\n[[classes]]\nname='A'\n[[classes]]\nname='B'\n", "did you mean 'dataset.target'?"),
    ],
)
def test_broken_settings_are_named(cli: Cli, project: Project, arguments: str, content: bytes, words: str) -> None:
    """A curate.toml that cannot be read stops every command, with the file and what is wrong in it."""
    file = project.root / "curate.toml"
    file.write_bytes(content)
    line = told(cli(*arguments.split(), cwd=project.root))
    assert line.startswith(str(file))
    assert words in line
    assert file.read_bytes() == content


def spoil(path: Path, how: str) -> None:
    """Put something at `path` that is no database of this version."""
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "text":
        path.write_text("once upon a time\n" * 500)
    elif how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "folder":
        path.unlink()
        path.mkdir()
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.mark.parametrize("arguments", ["status", "db check", "import in"])
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "is missing; put it back"),
        ("text", "is no SQLite database. Point [database] url in curate.toml elsewhere; or, if it was overwritten,"),
        ("cut", "is damaged"),
        ("newer", "was written by a newer curate (schema 9999)"),
        ("folder", "cannot be read: Is a directory"),
    ],
)
def test_a_database_that_is_not_ours_is_refused(
    cli: Cli, project: Project, arguments: str, how: str, words: str
) -> None:
    """Newer, damaged, gone or something else altogether: it is said which, and no byte of it is changed."""
    project.database.close()
    write_folder(project.root / "in", {"Red": range(1)})
    spoil(project.database.path, how)
    before = tree(project.root)
    line = told(cli(*arguments.split(), cwd=project.root))
    assert line.startswith(str(project.database.path))
    assert words in line
    assert tree(project.root) == before


def test_an_unknown_class_is_told_before_any_work(cli: Cli, project: Project, tmp_path: Path) -> None:
    """A subfolder that is no class stops an import with labels; not one image of the others is stored."""
    folder = write_folder(tmp_path / "in", {"Red": range(2), "Grean": range(1)})
    line = told(cli("import", folder, "--labels", "folder", "--project", project.root))
    assert "subfolder 'Grean'" in line
    assert "did you mean 'Green'?" in line
    assert list(project.store.files()) == []


@pytest.mark.parametrize("blocked", ["images", "images/.unfinished"])
def test_a_file_where_a_folder_should_be_is_named(cli: Cli, project: Project, tmp_path: Path, blocked: str) -> None:
    """What cannot be written is told with its path, for root too, and the same command goes on once it can."""
    folder = write_folder(tmp_path / "in", {"Red": range(3)})
    path = project.root / blocked
    shutil.rmtree(path, ignore_errors=True)
    path.write_text("in the way")
    assert str(project.root / "images") in told(cli("import", folder, "--project", project.root))
    path.unlink()
    assert cli("import", folder, "--json", "--project", project.root, check=True).json["stored"] == 3


@pytest.mark.parametrize("arguments", [["import", "in"], ["status"], ["init", "new", "--classes", "A,B"]])
def test_a_read_only_folder_is_told(project: Project, arguments: list[str]) -> None:
    """A folder that may not be written stops a command before any work."""
    project.database.close()
    write_folder(project.root / "in", {"Red": range(1)})
    before = tree(project.root)
    command = [sys.executable, "-m", "curate", *arguments]
    if os.geteuid() == 0:  # whom no permission stops
        command = ["unshare", "--mount", "sh", "-ec", READ_ONLY, str(project.root), *command]
        if subprocess.run([*command[:6], "true"], capture_output=True, check=False).returncode:
            pytest.skip("root may write anywhere, and this one may mount nothing read-only")
    project.root.chmod(0o555)
    done = subprocess.run(command, cwd=project.root, env=clean_env(), capture_output=True, text=True, check=False)
    project.root.chmod(0o755)
    line = told(Ran(done.returncode, done.stdout, done.stderr))
    assert str(project.root) in line
    assert tree(project.root) == before
