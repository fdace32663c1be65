"""`curate doctor`: what lies on the disk against what the database says."""

import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image as Picture
from sqlalchemy import select
from sqlalchemy.orm import Session

from curate import doctor
from curate.dedup.search import dedup
from curate.doctor import Problem, examine
from curate.ingest.decide import decide
from curate.ingest.folder import import_folder
from curate.ingest.intake import Collecting, Intake, Offer, register
from curate.project import Project
from db.engine import Database
from db.files import TEMPORARY
from db.models import Candidate, CandidateState, Image
from tests.pictures import jpeg, write_folder
from tests.taking import take


@pytest.fixture
def filled(project: Project, tmp_path: Path) -> Project:
    """Three pictures."""
    import_folder(project, write_folder(tmp_path / "in", {"Red": range(3)}), labels=True)
    return project


def kinds(problems: list[Problem]) -> list[str]:
    """What kinds of problems there are."""
    return sorted(problem.kind for problem in problems)


def test_a_healthy_project_has_no_problems(filled: Project) -> None:
    """Every row has its file, every file its row."""
    assert examine(filled, repair=False) == []


def test_missing_and_altered_files_are_named_and_mended_by_importing_again(filled: Project, tmp_path: Path) -> None:
    """Both are named by image; the same bytes, imported again, put them right."""
    first, second, _ = sorted(filled.store.files())
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1] + b"?")
    problems = examine(filled, repair=True)
    assert kinds(problems) == ["altered", "missing"]
    assert first.name in " ".join(problem.subject for problem in problems)
    import_folder(filled, tmp_path / "in", labels=True)
    assert examine(filled, repair=False) == []


def test_orphans_and_leftovers_are_removed_on_request(filled: Project) -> None:
    """A file without a row and an unfinished file are reported first, and removed with repair; nothing else is."""
    orphan = filled.store.root / "ab" / ("ab" + "0" * 62 + ".jpg")
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(jpeg(9))
    leftover = filled.store.root / ".unfinished" / f"{TEMPORARY}{2**22 + 1}-x"
    leftover.write_bytes(b"part")
    in_use = filled.store.root / ".unfinished" / f"{TEMPORARY}{os.getpid()}-x"
    in_use.write_bytes(b"part")
    assert kinds(examine(filled, repair=False)) == ["leftover", "orphan"]
    assert orphan.exists()
    assert all(problem.repaired for problem in examine(filled, repair=True))
    assert (orphan.exists(), leftover.exists(), in_use.exists()) == (False, False, True)
    assert examine(filled, repair=False) == []
    assert len(list(filled.store.files())) == 3


def test_a_file_that_is_being_stored_is_no_orphan(filled: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor waits for whoever writes: what has its file already, and its row in a moment, stays."""
    looked = threading.Event()
    known_files = doctor._known_files

    def look(session: Session) -> set[str]:
        found = known_files(session)
        looked.set()
        return found

    monkeypatch.setattr(doctor, "_known_files", look)
    intake = Intake.of(filled)
    with ThreadPoolExecutor(1) as pool:
        with filled.database.write() as session:
            outcome = take(session, intake, jpeg(50))
            examined = pool.submit(examine, filled, repair=True)
            assert looked.wait(60)
            decide(session, [(register(session, [Offer("http://x/1", "museum")], Collecting())["http://x/1"], outcome)])
        assert examined.result() == []
    assert examine(filled, repair=False) == []


def test_claims_of_dead_crawls_are_let_go(filled: Project) -> None:
    """They are no loss, but told."""
    with filled.database.write() as session:
        session.add(Candidate(address="http://x/1", state=CandidateState.CLAIMED, owner=f"x/{2**22 + 1}/y"))
    assert kinds(examine(filled, repair=True)) == ["claim"]
    assert examine(filled, repair=False) == []


def test_damage_inside_the_database_is_found(filled: Project) -> None:
    """A row that points nowhere is named."""
    filled.database.close()
    with closing(sqlite3.connect(filled.database.path)) as connection:  # foreign keys are off unless asked for
        connection.execute("DELETE FROM images WHERE id = 1")
        connection.commit()
    assert "database" in kinds(examine(filled, repair=False))
    with filled.database.read() as session:
        assert session.get(Image, 1) is None
        assert len(session.scalars(select(Image)).all()) == 2


def test_a_hash_that_is_not_the_picture_s_is_found_and_mended(filled: Project) -> None:
    """The hash of the full decode is written, and the next search compares the image anew; others are left alone."""
    dedup(filled)
    with filled.database.write() as session:
        images = session.scalars(select(Image).order_by(Image.id)).all()
        before = {image.id: (image.phash, image.compared_with) for image in images}
        images[1].phash = ~images[1].phash
        images[2].phash ^= 1  # as near as another version of the decoder may come
        wrong, near = images[1].id, (images[2].id, images[2].phash)
    assert [(p.kind, p.repaired) for p in examine(filled, repair=False)] == [("hash_differs", False)]
    found = examine(filled, repair=True)
    assert [(p.kind, p.repaired) for p in found] == [("hash_differs", True)]
    assert found[0].subject.startswith(f"image {wrong} ")
    assert examine(filled, repair=False) == []
    with filled.database.read() as session:
        after = {image.id: (image.phash, image.compared_with) for image in session.scalars(select(Image))}
    compared = before[near[0]][1]
    assert compared
    assert after == before | {wrong: (before[wrong][0], None), near[0]: (near[1], compared)}


def test_a_file_that_can_no_longer_be_decoded_is_named(filled: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes are what they were; the check goes on with the others."""
    monkeypatch.setattr(Picture, "open", Picture.new)
    assert kinds(examine(filled, repair=True)) == ["unreadable"] * 3


@pytest.mark.parametrize("place", ["project/data", "elsewhere"])
def test_unfinished_copies_are_looked_for_where_the_database_lies(project: Project, tmp_path: Path, place: str) -> None:
    """They are made beside it, be that in the project or elsewhere."""
    backups = tmp_path / place / "backups"
    backups.mkdir(parents=True)
    project.database.close()
    moved = Database(project.database.path.rename(backups.with_name("curate.db")))
    leftover = backups / f"{TEMPORARY}{2**22 + 1}-curate.db"
    leftover.write_bytes(b"part")
    assert kinds(examine(replace(project, database=moved), repair=True)) == ["leftover"]
    moved.close()
    assert not leftover.exists()
