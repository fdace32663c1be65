"""A database that was put back to an earlier state: what came since has other numbers then, and keeps its answers."""

from dataclasses import replace
from pathlib import Path

from sqlalchemy import select

from curate.ingest.folder import import_folder
from curate.labelling import Labelling
from curate.project import Project, open_project
from curate.restoring import restore_copy
from db import migrate
from db.models import Image
from labeler.stock import Stranger, content
from tests.labelstudio import MakeDesk
from tests.pictures import jpeg


def hashes(project: Project) -> dict[int, str]:
    """SHA-256 of each image."""
    with project.database.read() as session:
        return dict(session.execute(select(Image.id, Image.sha256)).all())


def test_answers_to_images_that_were_numbered_anew_come_in(make_desk: MakeDesk, tmp_path: Path) -> None:
    """The database was put back, and later images taken in again in another order: each gets its own answer."""
    desk = make_desk(2, "Red", "Green", "Blue")
    desk.labelling.push()
    copy = migrate.backup(desk.project.database.path)
    files = [tmp_path / str(seed) / "later.jpg" for seed in range(10, 13)]
    for seed, file in enumerate(files):
        file.parent.mkdir()
        file.write_bytes(jpeg(10 + seed, (120, 90)))
        assert import_folder(desk.project, file.parent, labels=False).stored == 1
    desk.labelling.push()
    tasks = [task["id"] for task in desk.remote()]
    said = dict(zip(map(desk.image_of, tasks[2:]), ("Red", "Green", "Blue"), strict=True))
    for task, name in zip(tasks[2:], said.values(), strict=True):
        desk.studio.annotate(task, name)
    before = hashes(desk.project)
    desk.project.database.close()
    restore_copy(desk.root, copy, desk.labelling.environment)
    project = open_project(desk.root)
    desk = replace(desk, project=project, labelling=Labelling(project, desk.labelling.environment))
    for file in reversed(files):
        assert import_folder(desk.project, file.parent, labels=False).stored == 1
    assert desk.labelling.pull().created == 3
    now = {sha256: number for number, sha256 in hashes(desk.project).items()}
    assert now[before[3]] != 3
    assert desk.labels() == {now[before[number]]: name for number, name in said.items()}
    assert (desk.labelling.push().created, desk.labelling.pull().annotations) == (0, 0)
    assert [task["id"] for task in desk.remote()] == tasks
    assert all(task["data"]["image_id"] == desk.image_of(task["id"]) for task in desk.remote())


def test_a_picture_is_known_by_its_name_wherever_it_lies() -> None:
    """In the project's folder and among uploads; of another's names nothing is read."""
    digits = "0123456789abcdef" * 4
    names = {
        f"/data/local-files/?d=images/01/{digits}.jpg": digits[:16],
        f"/data/upload/5/1a2b3c4d-12-{digits[:16]}.png": digits[:16],
        "/data/upload/5/guitar.jpg": "",
        f"https://museum.example/{digits[:20]}.jpg?size=large": "",
    }
    assert {url: content(Stranger(1, 1, {"image": url, "image_id": 1}, 0)) for url in names} == names
