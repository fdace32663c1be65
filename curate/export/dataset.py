"""What is exported: the images of the present split, and what is known of where each came from."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from curate.project import Project
from curate.split import latest_snapshot, refuse_forgotten
from db.answers import Other
from db.batches import chunks
from db.errors import DatasetError
from db.models import Candidate, Image, Sighting


@dataclass(frozen=True, slots=True)
class Exported:
    """One image of the split, and what is known of where it came from."""

    id: int
    sha256: str
    format: str
    label: str
    split: str
    file: Path
    width: int
    height: int
    source: str
    url: str
    page_url: str
    title: str
    creator: str
    licence: str
    licence_url: str
    attribution: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """The present split."""

    name: str
    snapshot: int
    made_at: datetime
    classes: tuple[str, ...]
    """In the project's order; last "None of these", where images of no class were asked for."""
    images: Sequence[Exported]
    """In the order of their ids."""

    def sides(self) -> Mapping[str, list[Exported]]:
        """Images of each side, in the order of their content: as good as shuffled, and the same every time."""
        found: dict[str, list[Exported]] = {}
        for image in sorted(self.images, key=lambda one: one.sha256):
            found.setdefault(image.split, []).append(image)
        return dict(sorted(found.items()))

    def licences(self) -> Counter[tuple[str, str]]:
        """How many images are under each licence, by its name and address; what has none is not counted."""
        return Counter((one.licence, one.licence_url) for one in self.images if one.licence)


def present_split(project: Project, session: Session, *, outsiders: bool = False) -> Dataset:
    """Images of the latest snapshot, each with its first sighting, of those with a licence if there is one.

    Those of no class only if asked for.

    Raises DatasetError where there is no split, or where an image of it was forgotten.
    """
    snapshot = latest_snapshot(session)
    if snapshot is None:
        raise DatasetError("there is no split to export yet; make one with `curate split`")
    refuse_forgotten(session, snapshot.id)
    places = {item.image_id: (snapshot.classes[item.class_index], item.side.value) for item in snapshot.items}
    classes = tuple(snapshot.classes)
    if outsiders and snapshot.outsiders:
        classes = (*classes, Other.NONE.caption)
        places |= {one.image_id: (Other.NONE.caption, one.side.value) for one in snapshot.outsiders}
    images = list(_exported(project, session, places))
    return Dataset(project.settings.dataset.name, snapshot.id, snapshot.created_at, classes, images)


def _exported(project: Project, session: Session, places: Mapping[int, tuple[str, str]]) -> Iterator[Exported]:
    for ids in chunks(places):
        licensed = func.min(case((Sighting.licence != "", Sighting.id)))
        telling = func.coalesce(licensed, func.min(Sighting.id))
        first = select(telling).where(Sighting.image_id.in_(ids)).group_by(Sighting.image_id)
        query = (
            select(Image, Sighting, Candidate)
            .outerjoin(Sighting, (Sighting.image_id == Image.id) & Sighting.id.in_(first))
            .outerjoin(Candidate, Candidate.id == Sighting.candidate_id)
            .where(Image.id.in_(ids))
            .order_by(Image.id)
        )
        for image, sighting, candidate in session.execute(query):
            yield _one(project, *places[image.id], image, sighting, candidate)


def _one(
    project: Project, label: str, split: str, image: Image, sighting: Sighting | None, candidate: Candidate | None
) -> Exported:
    return Exported(
        id=image.id,
        sha256=image.sha256,
        format=image.format,
        label=label,
        split=split,
        file=project.store.path(image.sha256, image.format),
        width=image.width,
        height=image.height,
        source=sighting.source if sighting else "",
        # A path on the exporting machine is nobody else's business.
        url=candidate.address if candidate and not candidate.local else "",
        page_url=sighting.page_url if sighting else "",
        title=sighting.title if sighting else "",
        creator=sighting.creator if sighting else "",
        licence=sighting.licence if sighting else "",
        licence_url=sighting.licence_url if sighting else "",
        attribution=sighting.attribution if sighting else "",
        bytes=image.bytes,
    )
