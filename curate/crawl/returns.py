"""What queries have brought, as people see it: of the images that each found, how many were labelled, and how."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.share import Share
from db.labels import keeper_labels
from db.models import Class, Image, ImageState, Sighting

_STRENGTH = 5.0
"""Labelled images that what is expected of a query beforehand is worth."""


@dataclass(frozen=True, slots=True)
class Returns:
    """What one query brought from one source. Copies of one photograph are one image."""

    source: str
    query: str
    collected_for: str
    """The class that it was asked for, most of the time; empty for a free query."""
    images: int
    labelled: int
    """Of these, by people or by an import: with a class, or with what else can be said."""
    classes: Mapping[str, int]
    """Of these, by class."""

    def of(self, name: str) -> Share:
        """Images of a class among those that were labelled."""
        return Share(self.classes.get(name, 0), self.labelled)

    def expected(self, name: str, beforehand: float) -> float:
        """Share of a class that is to be expected, drawn towards `beforehand` where little was labelled."""
        share = self.of(name)
        return (share.hits + _STRENGTH * beforehand) / (share.of + _STRENGTH)


def returns(session: Session) -> list[Returns]:
    """Count for every query and source, by name."""
    names = {row.id: row.name for row in session.scalars(select(Class))}
    labels = {label.keeper_id: label for label in keeper_labels(session) if not label.conflict}
    keepers = _keepers(session)
    found: dict[tuple[str, str], set[int]] = defaultdict(set)
    asked_for: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    columns = (Sighting.source, Sighting.query, Sighting.image_id, Sighting.class_id)
    for source, query, image, class_id in session.execute(select(*columns).where(Sighting.image_id.is_not(None))):
        if image in keepers:
            found[source, query].add(keepers[image])
            asked_for[source, query][names.get(class_id or 0, "")] += 1
    counted = []
    for (source, query), images in sorted(found.items()):
        said = [labels[keeper] for keeper in images if keeper in labels]
        classes = Counter(names[label.class_id] for label in said if label.class_id is not None)
        ((target, _),) = asked_for[source, query].most_common(1)
        counted.append(Returns(source, query, target, len(images), len(said), dict(sorted(classes.items()))))
    return counted


def beforehand(found: Iterable[Returns], name: str, queries: Iterable[str]) -> float:
    """Share of a class among all that its own queries have brought: what a query without labels is taken for."""
    wanted = set(queries)
    shares = [one.of(name) for one in found if one.query in wanted]
    return (sum(share.hits for share in shares) + 1) / (sum(share.of for share in shares) + 2)


def _keepers(session: Session) -> dict[int, int]:
    """The keeper of every image that was not forgotten."""
    query = select(Image.id, Image.group_id, Image.is_keeper).where(Image.state != ImageState.FORGOTTEN)
    rows = session.execute(query).all()
    of_group = {group: number for number, group, is_keeper in rows if is_keeper}
    return {number: number if is_keeper else of_group.get(group, number) for number, group, is_keeper in rows}
