"""What is audited: labelled keepers, in folds, so that each is judged by what was learned elsewhere.

What people say is of none of the classes is one class more here: it may be doubted, and suggested.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.project import Project
from curate.split.folds import deal
from curate.split.keepers import OF_NONE, labelled
from db.batches import chunks
from db.errors import DatasetError
from db.models import Image, Other
from trainer.manifest import TRAIN, Item, labels_of

FOLDS = 5
_TOO_FEW = "labels of two classes, two images each at least, can be audited; label more, or import labels"


@dataclass(frozen=True)
class Labelled:
    """Labelled keepers, class by class."""

    classes: tuple[str, ...]
    """Those that have labels, in the project's order, and last "None of these"; `Item.label` counts in them."""
    items: tuple[Item, ...]
    folds: NDArray[np.int64]
    """Of each item, from 0. Copies have one keeper, so they never lie in two folds."""

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Of each item."""
        return np.array(labels_of(self.items), np.int64)


def labelled_keepers(project: Project, session: Session) -> Labelled:
    """Deal all labelled keepers, of both sides of a split and of none, into folds.

    A class with a single image is left out: nothing could be learned of it. Raises DatasetError where fewer than two
    classes are left.
    """
    ids = project.classes(session)
    keepers = {class_id: found for class_id, found in labelled(session).items() if len(found) > 1}
    names = [name for name, class_id in ids.items() if class_id in keepers]
    if len(names) < 2:  # noqa: PLR2004 - one class cannot be told from another
        raise DatasetError(_TOO_FEW)
    if OF_NONE in keepers:
        ids = {**ids, Other.NONE.caption: OF_NONE}
        names.append(Other.NONE.caption)
    dealt = [
        (keeper.image_id, label, fold)
        for label, name in enumerate(names)
        for keeper, fold in deal(keepers[ids[name]], FOLDS, project.settings.dataset.seed)
    ]
    items = items_of(project, session, {number: label for number, label, _ in dealt})
    return Labelled(tuple(names), items, np.array([fold for _, _, fold in dealt], np.int64))


def items_of(project: Project, session: Session, labels: dict[int, int]) -> tuple[Item, ...]:
    """Give images, in the order of `labels`, as the trainer knows them."""
    found: dict[int, Item] = {}
    for batch in chunks(labels):
        rows = session.execute(select(Image.id, Image.sha256, Image.format).where(Image.id.in_(batch)))
        for number, sha256, kind in rows:
            found[number] = Item(str(number), project.store.path(sha256, kind), sha256, labels[number], TRAIN)
    return tuple(found[number] for number in labels)
