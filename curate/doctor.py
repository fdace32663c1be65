"""`curate doctor`: whether what the database says lies on the disk, byte for byte, and nothing else does.

The hash of each picture is checked too: by a quick decode, and by a full one only where the quick one finds fault.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from curate.crawl import claims
from curate.ingest.rehash import confirmed_phash
from curate.progress import QUIET, Progress
from curate.project import Project
from db import migrate
from db.files import leftovers
from db.models import Candidate, CandidateState, Image, ImageState, Run, RunState
from db.store import digest, relative_path


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be.

    `kind`: database, missing, altered, unreadable, hash_differs, orphan, leftover, run or claim.
    """

    kind: str
    subject: str
    advice: str
    repaired: bool = False


def examine(project: Project, *, repair: bool, progress: Progress = QUIET) -> list[Problem]:
    """Check everything; with `repair`, mend what can be mended without losing anything."""
    advice = "put back a copy: `curate db restore`"
    found = [Problem("database", line, advice) for line in migrate.problems(project.database.path)]
    found += _images(project, progress, repair=repair)
    found += orphans(project, repair=repair)
    found += _leftovers(project, repair=repair)
    found += _claims(project, repair=repair)
    found += _runs(project)
    return found


def _images(project: Project, progress: Progress, *, repair: bool) -> Iterator[Problem]:
    """Compare every image file with its row."""
    with project.database.read() as session:
        query = select(Image.id, Image.sha256, Image.format, Image.phash).where(Image.state != ImageState.FORGOTTEN)
        rows = [(row[0], row[1], row[2], row[3]) for row in session.execute(query.order_by(Image.id))]
    hashes: dict[int, int] = {}
    # Pillow warns of odd but readable files, which was judged when they came in. Threads share the filters.
    with (
        warnings.catch_warnings(action="ignore"),
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress.task("checking image files", len(rows), "images") as task,
    ):
        checked = pool.map(lambda row: _image_problem(project, *row), rows)
        for (number, *_), (problem, phash) in zip(rows, checked, strict=True):
            task.advance()
            if phash is not None:
                hashes[number] = phash
            if problem is not None:
                yield replace(problem, repaired=repair and phash is not None)
    if repair and hashes:
        _write_hashes(project, hashes)


def _image_problem(
    project: Project, number: int, sha256: str, image_format: str, phash: int
) -> tuple[Problem | None, int | None]:
    """Give what is wrong with an image, and its true hash where only that is."""
    path = project.store.path(sha256, image_format)
    subject = f"image {number} ({path.relative_to(project.root)})"
    again = "`curate import` or `curate crawl --recheck` puts the same bytes back; or `curate forget` it"
    try:
        data = path.read_bytes()
    except OSError as error:
        return Problem("missing", f"{subject}: {error.strerror}", again), None
    if hashlib.sha256(data).hexdigest() != sha256:
        return Problem("altered", subject, f"take the file away; then {again}"), None
    try:
        true = confirmed_phash(data, phash)
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything, and others are still to be checked
        advice = "look at it: the installed Pillow no longer reads it"
        return Problem("unreadable", f"{subject}: {type(error).__name__}: {error}", advice), None
    if true != phash:
        return Problem("hash_differs", subject, "hash it anew: `curate doctor --repair`, then `curate dedup`"), true
    return None, None


def _write_hashes(project: Project, hashes: dict[int, int]) -> None:
    """Set right what images are compared by. A search that is under way would mark them as compared by the old ones."""
    with project.lock("dedup"), project.database.write() as session:
        for number, phash in hashes.items():
            session.execute(update(Image).where(Image.id == number).values(phash=phash, compared_with=None))


def orphans(project: Project, *, repair: bool) -> list[Problem]:
    """Files that no row knows: a process was killed between the two.

    A file that is being stored has no row yet either. Who stores one writes its row in the same transaction, so what
    has none while nobody else writes has lost it.
    """
    with project.database.read() as session:
        known = _known_files(session)
    files = {path.relative_to(project.store.root).as_posix(): path for path in project.store.files()}
    if known.issuperset(files):
        return []
    with project.database.write() as session:
        lost = sorted(files.keys() - _known_files(session))
        # After `curate db restore` they are the images that came in since.
        advice = "take it in: `curate import images`; or remove it: `curate doctor --repair`"
        found = [(Problem("orphan", _shown(project, files[name]), advice), files[name]) for name in lost]
        return [_remove(problem, path, repair=repair) for problem, path in found]


def _known_files(session: Session) -> set[str]:
    query = select(Image.sha256, Image.format).where(Image.state != ImageState.FORGOTTEN)
    return {relative_path(sha256, image_format) for sha256, image_format in session.execute(query)}


def _leftovers(project: Project, *, repair: bool) -> Iterator[Problem]:
    """Find files that killed processes never finished."""
    beside = project.database.path.parent  # as a rule the project's own folder
    folders = [
        *dict.fromkeys([project.root, beside]),
        beside / "backups",
        project.private,
        project.private / "pixels",
        *project.runs.glob("*/"),
    ]
    found = [*project.store.leftovers(), *(path for folder in folders for path in leftovers(folder))]
    for path in found:
        yield _remove(
            Problem("leftover", _shown(project, path), "remove it: `curate doctor --repair`"), path, repair=repair
        )


def _claims(project: Project, *, repair: bool) -> Iterator[Problem]:
    """Find addresses claimed by crawls that are dead. The next crawl takes them over anyway."""
    with project.database.read() as session:
        claimed = session.scalars(select(Candidate).where(Candidate.state == CandidateState.CLAIMED))
        stale = sum(claims.is_stale(candidate) for candidate in claimed)
    if stale:
        if repair:
            with project.database.write() as session:
                claims.release_stale(session)
        advice = "crawl again, or let go of them: `curate doctor --repair`"
        yield Problem("claim", f"{stale} addresses are claimed by a dead crawl", advice, repaired=repair)


def _runs(project: Project) -> Iterator[Problem]:
    """Compare finished runs with their weights."""
    with project.database.read() as session:
        runs = session.scalars(select(Run).where(Run.state == RunState.FINISHED).order_by(Run.id)).all()
    for run in runs:
        path = project.runs / run.name / "model.safetensors"
        try:
            whole = digest(path) == run.weights_sha256
        except OSError:
            whole = False
        if not whole:
            subject = f"weights of run {run.name} are gone or altered"
            yield Problem("run", subject, "put them back from a copy, or train anew: this run will not be used")


def _remove(problem: Problem, path: Path, *, repair: bool) -> Problem:
    if repair:
        path.unlink(missing_ok=True)
    return replace(problem, repaired=repair)


def _shown(project: Project, path: Path) -> str:
    return (path.relative_to(project.root) if path.is_relative_to(project.root) else path).as_posix()
