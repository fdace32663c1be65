"""The wheel: it holds what a user needs and nothing else, and works installed, from any folder."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.environment import clean_env

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.xdist_group("wheel")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment with the wheel in it; its dependencies are those of this one, so nothing is downloaded."""
    home = tmp_path_factory.mktemp("home") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


def curate(home: Path, *arguments: str, cwd: Path) -> str:
    """What the installed program prints."""
    environment = {key: value for key, value in clean_env().items() if not key.startswith("PYTHON")}
    program = str(home / "bin" / "curate")
    done = subprocess.run([program, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_packages_and_their_data(wheel: Path) -> None:
    """Migrations and presets are there; tests, benchmarks and a second `alembic` are not."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert "db/migrations/env.py" in names
    assert "db/migrations/versions/0001_the_first_schema.py" in names
    assert {f"curate/presets/{path.name}" for path in (ROOT / "curate" / "presets").iterdir()} <= set(names)
    assert {name.partition("/")[0] for name in names} == {"curate", "labeler", "trainer", "db"}
    assert not any("__pycache__" in name or name.endswith(".pyc") for name in names)
    versions = {path.name for path in (ROOT / "alembic" / "versions").glob("*.py")}
    assert {name.rpartition("/")[2] for name in names if name.startswith("db/migrations/versions/")} == versions


def test_the_installed_program_makes_and_upgrades_a_project(installed: Path, tmp_path: Path) -> None:
    """From a folder that has nothing to do with the checkout, with the wheel's own code and migrations."""
    where = "import curate, db.migrate; print(curate.__file__); print(db.migrate._folder())"
    told = subprocess.run(
        [installed / "bin" / "python", "-c", where], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert all(line.startswith(os.fspath(installed)) for line in told.splitlines())
    curate(installed, "init", "project", "--preset", "guitars", cwd=tmp_path)
    project = tmp_path / "project"
    assert "schema" in curate(installed, "db", "upgrade", cwd=project)
    (project / "curate.db").unlink()
    curate(installed, "db", "upgrade", cwd=project)
    assert '"Stratocaster"' in curate(installed, "status", "--json", cwd=project)
    assert "no problems" in curate(installed, "doctor", cwd=project)
