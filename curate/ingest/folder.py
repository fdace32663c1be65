"""`curate import`: a folder of images that somebody has already, labels in its subfolders' names or not."""

import contextlib
import difflib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.config import IngestSettings, class_key
from curate.ingest.decide import decide
from curate.ingest.decoders import Decoders
from curate.ingest.facts import Facts
from curate.ingest.intake import FORGOTTEN, Collecting, Intake, Offer, Outcome, register
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.quality import apply
from db.batches import chunks
from db.errors import DatasetError
from db.labels import Answer, record
from db.models import Annotation, AnnotationOrigin, AnnotationState, Candidate, CandidateState, Other
from db.models.base import now
from db.policy import Decision
from db.reasons import Reason, Refusal

_BATCH = 64
"""Files a transaction: what a kill in the middle costs, against the price of a commit."""
_BATCH_BYTES = 64_000_000


@dataclass
class ImportReport:
    """What an import did; stored + duplicates + failed are all files."""

    stored: int = 0
    duplicates: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[Path, Refusal]] = field(default_factory=list)
    labelled_ids: set[int] = field(default_factory=set)
    """Images that some file of this import gave a label to."""


def import_folder(project: Project, folder: Path, *, labels: bool, progress: Progress = QUIET) -> ImportReport:
    """Take in every file below `folder`; with `labels`, its subfolders' names are classes.

    Or what else people may say of an image, such as "None of these". Running it again changes nothing. Raises
    DatasetError, before any work, for a folder that is not there or a subfolder that names no class.
    """
    given, folder = folder, full(folder)
    if not folder.is_dir():
        raise DatasetError(f"{given} is no folder")
    if not os.access(folder, os.R_OK):
        raise DatasetError(f"{given} cannot be looked into; whose it is, and its rights, say why")
    files = list(image_files(folder))
    classes = _classes_of(project, folder, files) if labels else {}
    if labels and not classes:
        progress.say(f"{given} has no subfolders whose names could be labels: nothing is labelled")
    report = ImportReport()
    project.store.sweep()
    with (
        Decoders(project.settings.ingest) as decoders,
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress.task(f"importing {folder.name}", len(files), "images") as task,
    ):
        intake = Intake.of(project, decoders.examine)
        for batch in _batches(files):
            judged = list(pool.map(lambda path: _judge_file(intake, path), batch))
            with project.database.write() as session:
                intake.keep(session, ((data, outcome) for data, outcome in judged if isinstance(outcome, Facts)))
                outcomes = [outcome for _, outcome in judged]
                _write_batch(session, folder, list(zip(batch, outcomes, strict=True)), classes, report)
            task.advance(len(batch))
    return report


def image_files(folder: Path) -> Iterator[Path]:
    """Every file below `folder` that is not hidden, in a fixed order; links are followed, but not in a circle.

    A folder that cannot be looked into stands for what is in it: reading it says why.
    """
    return _files_below(folder, frozenset())


def _files_below(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda one: one.name)
    except OSError:
        yield folder
        return
    folders = [entry for entry in entries if _is(entry.is_dir, unknown=False)]
    yield from (folder / entry.name for entry in entries if _is(entry.is_file, unknown=True))
    for entry in folders:
        yield from _files_below(folder / entry.name, above | {real})


def _is(kind: Callable[[], bool], *, unknown: bool) -> bool:
    try:
        return kind()
    except PermissionError:
        return unknown
    except OSError:  # a link that leads nowhere
        return False


def read_file(path: Path, limits: IngestSettings) -> bytes | Refusal:
    """Read a file of the user's own, up to the size that is taken."""
    try:
        with path.open("rb") as file:
            data = file.read(limits.max_bytes + 1)
    except OSError as error:
        return Refusal(Reason.UNREADABLE, error.strerror or str(error))
    if len(data) > limits.max_bytes:
        return Refusal(Reason.TOO_MANY_BYTES, f"over {limits.max_bytes} bytes; ingest.max_bytes sets the limit")
    return data


def local_offer(path: Path, source: str, query: str = "") -> Offer:
    """Offer a file of the user's own. Its name is kept for people, and is never used as a path."""
    return Offer(address=path.as_uri(), source=source, query=query, local=True, name=shown(path.name))


def full(path: Path) -> Path:
    """Give the one path of a file, wherever a command was started: `..` must go, and links must stay."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - it follows no links, and Path.absolute leaves `..`


def shown(path: Path | str) -> str:
    """Write a path, or another argument, as a database takes it: it may be any bytes."""
    return os.fsencode(path).decode("utf-8", "replace")


def _batches(files: Iterable[Path]) -> Iterator[list[Path]]:
    """Files of one transaction: so many, or so many bytes, since they are held until they are stored."""
    batch: list[Path] = []
    size = 0
    for path in files:
        batch.append(path)
        with contextlib.suppress(OSError):  # gone meanwhile: reading it will say so
            size += path.stat().st_size
        if len(batch) == _BATCH or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _judge_file(intake: Intake, path: Path) -> tuple[bytes, Outcome]:
    data = read_file(path, intake.limits)
    return (b"", data) if isinstance(data, Refusal) else (data, intake.judge(data))


def _classes_of(project: Project, folder: Path, files: Iterable[Path]) -> dict[str, Decision]:
    """Map the subfolders' names to what they say. Raises DatasetError for one that is no class."""
    with project.database.read() as session:
        # By number: a class may be renamed or merged while a long import runs; `record` knows what it counts as.
        ids = project.classes(session)
    known: dict[str, Decision] = {class_key(other.caption): (None, other) for other in Other}
    known |= {class_key(name): (class_id, None) for name, class_id in ids.items()}
    found = {path.relative_to(folder).parts[0] for path in files if path.parent != folder}
    for name in sorted(found):
        if class_key(name) not in known:
            near = difflib.get_close_matches(name, ids, n=1)
            hint = f"did you mean {near[0]!r}? Rename the folder" if near else "add it to the classes, rename it"
            raise DatasetError(f"subfolder {name!r} of {folder} is no class; {hint}, or import without --labels")
    return {name: known[class_key(name)] for name in found}


def _write_batch(
    session: Session,
    folder: Path,
    taken: Sequence[tuple[Path, Outcome]],
    classes: dict[str, Decision],
    report: ImportReport,
) -> None:
    offers = {path: local_offer(path, "import", shown(folder)) for path, _ in taken}
    candidates = register(session, list(offers.values()), Collecting())
    there_before = {found.image_id for found in candidates.values() if found.image_id is not None}
    pairs = [(candidates[offers[path].address], outcome) for path, outcome in taken]
    states = decide(session, pairs)
    answers = []
    for (path, outcome), (candidate, _), state in zip(taken, pairs, states, strict=True):
        _count(report, path, outcome, state)
        said = classes.get(path.relative_to(folder).parts[0]) if path.parent != folder else None
        if said is not None and candidate.image_id is not None and state is not CandidateState.FAILED:
            answers.append(_answer(candidate, candidate.image_id, *said))
    record(session, answers)
    labelled = {answer.image_id for answer in answers}
    report.labelled_ids |= labelled
    _withdraw_moved(session, labelled | (there_before if classes else set()))
    apply.settle(session, labelled)  # a label outweighs what a check has found


def _withdraw_moved(session: Session, image_ids: Iterable[int]) -> None:
    """Take back what a file said that has since been moved to another class's folder: the way to mend a label there.

    Another file may have its old name by now. An image that is in no folder any more keeps what was said of it.
    """
    for ids in chunks(image_ids):
        query = select(Annotation).where(Annotation.image_id.in_(ids), Annotation.origin == AnnotationOrigin.IMPORT)
        by_image: dict[int, list[Annotation]] = {}
        # What was dropped with its class would count again when that comes back.
        standing = Annotation.state.in_([AnnotationState.ACTIVE, AnnotationState.DROPPED])
        for annotation in session.scalars(query.where(standing)):
            by_image.setdefault(annotation.image_id, []).append(annotation)
        several = [annotations for annotations in by_image.values() if len(annotations) > 1]
        addresses = {a: str(a.revisions[-1].answer["address"]) for annotations in several for a in annotations}
        held = _images_at(session, addresses.values())
        for annotations in several:
            gone = [a for a in annotations if held.get(addresses[a]) != a.image_id]
            if len(gone) < len(annotations):
                record(session, [_withdrawn(annotation, addresses[annotation]) for annotation in gone])


def _images_at(session: Session, addresses: Iterable[str]) -> dict[str, int | None]:
    """The image that each file held when it was last read, of those files that are still there."""
    found: dict[str, int | None] = {}
    there = (address for address in addresses if _is(local_path(address).exists, unknown=True))
    for batch in chunks(there):
        rows = session.execute(select(Candidate.address, Candidate.image_id).where(Candidate.address.in_(batch)))
        found.update((row[0], row[1]) for row in rows)
    return found


def local_path(address: str) -> Path:
    """Undo `local_offer`: the file that a local candidate's address stands for."""
    return Path(unquote(urlsplit(address).path, errors="surrogateescape"))


def _withdrawn(annotation: Annotation, address: str) -> Answer:
    return Answer(
        key=annotation.key,
        origin=annotation.origin,
        image_id=annotation.image_id,
        state=AnnotationState.DELETED,
        class_id=annotation.class_id,
        other=annotation.other,
        annotator=annotation.annotator,
        answered_at=now(),
        raw={"address": address},
    )


def _count(report: ImportReport, path: Path, outcome: Outcome, state: CandidateState) -> None:
    if isinstance(outcome, Refusal):
        report.failed[outcome.reason.value] += 1
        report.failures.append((path, outcome))
    elif state is CandidateState.FAILED:
        report.failed[FORGOTTEN.reason.value] += 1
        report.failures.append((path, FORGOTTEN))
    elif state is CandidateState.STORED:
        report.stored += 1
    else:
        report.duplicates += 1


def _answer(candidate: Candidate, image_id: int, class_id: int | None, other: Other | None) -> Answer:
    return Answer(
        key=f"import:{candidate.id}:{image_id}",
        origin=AnnotationOrigin.IMPORT,
        image_id=image_id,
        state=AnnotationState.ACTIVE,
        class_id=class_id,
        other=other,
        annotator="folder",
        answered_at=now(),
        raw={"address": candidate.address},
    )
