"""What pages say of an image: its name, its size, where it came from, and its label."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from db.batches import chunks
from db.models import Class, Image, ImageState, Label, Sighting
from db.store import relative_path


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as people see it."""

    id: int
    sha256: str
    format: str
    width: int
    height: int
    state: ImageState
    name: str
    """The file name it first came with."""
    source: str
    collected_for: str
    """The class whose query found it: a guess."""
    label: str
    """The class it is labelled with, if it is."""
    disputed: bool
    """Imports name different classes, and no person has decided."""

    @property
    def relative_path(self) -> str:
        """Path below the image store's folder."""
        return relative_path(self.sha256, self.format)

    @property
    def find(self) -> str:
        """What a filter looks at: in lower case as JavaScript makes it, which leaves the ß of Straße as it is."""
        words = (str(self.id), self.name, self.source, self.collected_for, self.label, self.state.value)
        return " ".join(filter(None, words)).lower()


def pictures(session: Session, ids: Iterable[int]) -> dict[int, Picture]:
    """Look up images by their ids."""
    named, guessed = aliased(Class), aliased(Class)
    found: dict[int, Picture] = {}
    for batch in chunks(sorted(set(ids))):
        seen = select(func.min(Sighting.id)).where(Sighting.image_id.in_(batch)).group_by(Sighting.image_id)
        query = (
            select(Image, Sighting.name, Sighting.source, guessed.name, named.name, Label.conflict, Label.other)
            .outerjoin(Sighting, (Sighting.image_id == Image.id) & Sighting.id.in_(seen))
            .outerjoin(guessed, guessed.id == Image.collected_for_id)
            .outerjoin(Label, Label.image_id == Image.id)
            .outerjoin(named, named.id == Label.class_id)
            .where(Image.id.in_(batch))
        )
        for image, name, source, guess, label, conflict, other in session.execute(query):
            found[image.id] = Picture(
                id=image.id,
                sha256=image.sha256,
                format=image.format,
                width=image.width,
                height=image.height,
                state=image.state,
                name=name or "",
                source=source or "",
                collected_for=guess or "",
                label=label or (other.caption if other else ""),
                disputed=bool(conflict),
            )
    return found


def pictures_by_hash(session: Session, hashes: Iterable[str]) -> dict[str, Picture]:
    """Look up images by their SHA-256s; those that were forgotten, or never were here, are not among them."""
    ids: list[int] = []
    for batch in chunks(sorted(set(hashes))):
        here = Image.sha256.in_(batch) & (Image.state != ImageState.FORGOTTEN)
        ids += session.scalars(select(Image.id).where(here))
    return {picture.sha256: picture for picture in pictures(session, ids).values()}
