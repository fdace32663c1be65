"""`curate status`: every image and every address is in exactly one of its counts."""

from pathlib import Path

from sqlalchemy import select

from curate.dedup.search import dedup
from curate.ingest.folder import import_folder
from curate.project import Project
from curate.split import split
from curate.status import ClassStatus, status
from db.models import Candidate, CandidateState, Image, ImageState
from db.reasons import Reason
from tests.pictures import encoded, jpeg, picture, write_folder


def test_an_empty_project_has_a_line_for_every_class(project: Project) -> None:
    """All counts are nothing, and the targets are there."""
    found = status(project)
    assert found.classes == dict.fromkeys(["Red", "Green", "Blue"], ClassStatus(0, 0, 250))
    assert (found.images, found.keepers, found.unlabelled, found.snapshots, found.runs) == (0, 0, 0, 0, [])


def test_images_are_counted_once(project: Project, tmp_path: Path) -> None:
    """Keepers, duplicates and what is set aside are all images; labelled and unlabelled are all keepers."""
    folder = write_folder(tmp_path / "in", {"Red": range(3), "Green": range(2)})
    (folder / "loose.jpg").write_bytes(jpeg(900, (480, 360)))
    (folder / "copy.webp").write_bytes(encoded(picture(900, (480, 360)).reduce(2), "WEBP", quality=80))
    import_folder(project, folder, labels=True)
    dedup(project)
    split(project)
    with project.database.write() as session:
        labelled = session.scalars(select(Image).order_by(Image.id.desc()).limit(1)).one()
        labelled.state = ImageState.SET_ASIDE
    found = status(project)
    assert (found.images, found.keepers, found.duplicates, found.set_aside) == (7, 5, 1, 1)
    assert sum(counts.labelled for counts in found.classes.values()) + found.unlabelled == found.keepers
    assert (found.classes["Red"], found.snapshots) == (ClassStatus(2, 2, 250), 1)


def test_a_label_outweighs_the_query(project: Project, tmp_path: Path) -> None:
    """An image counts for the class that it is labelled with, not for the one whose query found it."""
    import_folder(project, write_folder(tmp_path / "in", {"Red": range(2)}), labels=True)
    with project.database.write() as session:
        green = project.classes(session)["Green"]
        for image in session.scalars(select(Image)):
            image.collected_for_id = green
    counts = status(project).classes
    assert (counts["Red"].images, counts["Green"].images) == (2, 0)


def test_addresses_are_counted_by_state_and_reason(project: Project) -> None:
    """Failures by their reason, all others by their state."""
    with project.database.write() as session:
        states = [CandidateState.PENDING, CandidateState.PENDING, CandidateState.CLAIMED]
        session.add_all(Candidate(address=f"http://x/{n}", state=state) for n, state in enumerate(states))
        failed = CandidateState.FAILED
        session.add(Candidate(address="http://y/1", state=failed, reason=Reason.TIMEOUT))
        session.add(Candidate(address="http://y/2", state=failed, reason=Reason.CORRUPT))
    assert status(project).candidates == {"pending": 2, "claimed": 1, "timeout": 1, "corrupt": 1}
