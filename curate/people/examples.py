"""A picture of each class, to stand beside its name on the labelling page."""

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from curate.config import Settings
from curate.pages.pictures import pictures
from curate.pages.thumbnails import Thumbnails
from curate.project import Project
from db.models import Annotation, AnnotationOrigin, Image, ImageState, Label

_SIDE = 144
"""Pixels: as large as the page shows it under the mouse."""


def examples(project: Project) -> dict[str, str]:
    """Give a small picture for each class that has a labelled image, as a `data:` address.

    Of each class the first that a person labelled, or else the first of an import: it stays the same while labels come.
    `[[classes]] example` in `curate.toml` names another by its id.
    """
    with project.database.read() as session:
        classes = project.classes(session)
        first = _first(session)
        chosen = {c.name: c.example for c in project.settings.classes if c.example is not None}
        wanted = {name: chosen.get(name, first.get(class_id)) for name, class_id in classes.items()}
        shown = pictures(session, [number for number in wanted.values() if number is not None])
    thumbnails = Thumbnails(project.store, _SIDE)
    drawn = {name: thumbnails.of(shown[number]) for name, number in wanted.items() if number in shown}
    return {name: address for name, address in drawn.items() if address is not None}


def forgotten(session: Session, settings: Settings) -> set[int]:
    """Forgotten images that may have been an example: they have an answer on record, or `curate.toml` names them."""
    named = [c.example for c in settings.classes if c.example is not None]
    answered = exists().where(Annotation.image_id == Image.id)
    query = select(Image.id).where(Image.state == ImageState.FORGOTTEN, answered | Image.id.in_(named))
    return set(session.scalars(query))


def _first(session: Session) -> dict[int, int]:
    """The first image of each class, by class id; those that people labelled before all others."""
    found: dict[int, int] = {}
    stored = (Image.state == ImageState.STORED) & Image.is_keeper
    query = select(Label.class_id, func.min(Label.image_id)).join(Image, Image.id == Label.image_id).where(stored)
    for origin in (AnnotationOrigin.LABEL_STUDIO, AnnotationOrigin.IMPORT):
        for class_id, number in session.execute(query.where(Label.origin == origin).group_by(Label.class_id)):
            if class_id is not None:
                found.setdefault(class_id, number)
    return found
