"""The split itself: choose in every class, freeze what was chosen, and say what is left out and what has left."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from curate.conflicts import Conflict, conflicts
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.split.choose import ClassSplit, split_class
from curate.split.freeze import Chosen, freeze
from curate.split.keepers import OF_NONE, labelled
from curate.split.leaving import Left, left
from db.errors import DatasetError
from db.models import Image, ImageState, Side


@dataclass(frozen=True, slots=True)
class SplitReport:
    """The snapshot that stands now."""

    snapshot: int
    content_sha256: str
    classes: dict[str, ClassSplit]
    conflicts: list[Conflict]
    left: list[Left]
    """What the snapshot before validates on and this one does not."""
    outsiders: ClassSplit
    """Images of none of the classes, by which a run learns what lies outside: as many as of a class, or fewer."""

    @property
    def short(self) -> list[str]:
        """Classes that lack images."""
        return [name for name, counts in self.classes.items() if counts.missing]


def split(project: Project, progress: Progress = QUIET, *, strict: bool = False) -> SplitReport:
    """Freeze a snapshot of the present labels, or find that the latest one still says the same.

    Says so where images were never searched for duplicates: of copies that nobody has looked for it knows nothing.

    Raises DatasetError when nothing is labelled, and with `strict` when a class is short: then nothing is written.
    """
    settings = project.settings.dataset
    with project.database.write() as session:
        classes = project.classes(session)
        keepers = labelled(session)
        if not any(keepers.get(class_id) for class_id in classes.values()):
            raise DatasetError(
                "nothing is labelled yet; label in Label Studio and `curate label pull`, or import labels"
            )
        chosen = Chosen()
        counts: dict[str, ClassSplit] = {}
        for index, (name, class_id) in enumerate(classes.items()):
            train, validation, counts[name] = split_class(keepers.get(class_id, []), settings)
            chosen.sides.update({keeper.image_id: (index, Side.TRAIN) for keeper in train})
            chosen.sides.update({keeper.image_id: (index, Side.VALIDATION) for keeper in validation})
        train, validation, outsiders = split_class(keepers.get(OF_NONE, []), settings)
        chosen.outsiders.update({keeper.image_id: Side.TRAIN for keeper in train})
        chosen.outsiders.update({keeper.image_id: Side.VALIDATION for keeper in validation})
        if strict and any(c.missing for c in counts.values()):
            short = ", ".join(f"{name} {c.missing}" for name, c in counts.items() if c.missing)
            raise DatasetError(f"classes are short of {settings.target} labelled images ({short}); nothing was written")
        snapshot = freeze(session, list(classes), chosen, settings)
        found, gone = conflicts(session, classes), left(session, snapshot, classes)
        unsearched = _unsearched(session)
    if unsearched:
        progress.say(
            f"{unsearched} images were not searched for duplicates yet: copies among them may lie on both sides; run"
            " `curate dedup`, then split again"
        )
    return SplitReport(snapshot.id, snapshot.content_sha256, counts, found, gone, outsiders)


def _unsearched(session: Session) -> int:
    """Images that came in since the last search for duplicates."""
    query = select(func.count()).where(Image.compared_with.is_(None), Image.state != ImageState.FORGOTTEN)
    return session.scalar(query) or 0
