"""A project as a whole: made, found, moved, and refused before anything is touched."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from curate import project as projects
from curate.ingest.folder import import_folder
from curate.project import Project
from curate.status import status
from db.errors import ConfigError, DatabaseError
from tests.pictures import write_folder


def test_a_project_is_found_from_below(project: Project) -> None:
    """Any folder inside a project will do."""
    below = project.root / "images" / "ab"
    below.mkdir(parents=True)
    assert projects.find(below) == project.root
    with pytest.raises(ConfigError, match="curate init"):
        projects.find(project.root.parent)


def test_a_project_is_not_made_twice(project: Project) -> None:
    """Making a project where one is changes nothing."""
    before = (project.root / "curate.toml").read_text()
    with pytest.raises(ConfigError, match="exists already"):
        projects.create(project.root, "guitars", ())
    assert (project.root / "curate.toml").read_text() == before


def test_a_project_can_be_moved(make_project: Callable[..., Project], tmp_path: Path) -> None:
    """After its folder was moved, everything is found again."""
    project = make_project()
    import_folder(project, write_folder(tmp_path / "in", {"Red": range(3)}), labels=True)
    project.database.close()
    shutil.move(project.root, tmp_path / "elsewhere")
    moved = projects.open_project(tmp_path / "elsewhere")
    assert status(moved).classes["Red"].labelled == 3
    moved.database.close()


def test_a_missing_database_is_not_made_anew_unasked(project: Project) -> None:
    """An empty database beside images would look like a loss: it is told instead."""
    project.database.close()
    (project.root / "curate.db").unlink()
    with pytest.raises(DatabaseError, match="curate db upgrade"):
        projects.open_project(project.root)
    assert not (project.root / "curate.db").exists()


def test_classes_follow_the_settings(project: Project) -> None:
    """A class added to curate.toml is there at the next opening, in its place; one without use can go."""
    file = project.root / "curate.toml"
    file.write_text(file.read_text().replace('name = "Green"', 'name = "Pink"'))
    opened = projects.open_project(project.root)
    with opened.database.read() as session:
        assert list(opened.classes(session)) == ["Red", "Pink", "Blue"]
    opened.database.close()


def test_a_class_with_labels_is_not_lost(project: Project, tmp_path: Path) -> None:
    """Taking a class out of curate.toml while labels name it is refused."""
    import_folder(project, write_folder(tmp_path / "in", {"Green": range(2)}), labels=True)
    file = project.root / "curate.toml"
    file.write_text(file.read_text().replace('[[classes]]\nname = "Green"\n', ""))
    with pytest.raises(ConfigError, match="'Green' is missing"):
        projects.open_project(project.root)


@pytest.mark.parametrize("name", ["Café ☕", "גיטרה", "<b>&\"'", "=cmd()", "a, b; c"])
def test_odd_class_names_survive(make_project: Callable[..., Project], tmp_path: Path, name: str) -> None:
    """Names of any script and sign go through settings, folders and database unchanged."""
    project = make_project(name, "Other")
    import_folder(project, write_folder(tmp_path / "in", {name: range(1)}), labels=True)
    assert status(project).classes[name].labelled == 1
