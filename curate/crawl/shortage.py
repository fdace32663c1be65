"""Classes that lack labels and will not get them from what waits for one, and the queries that would bring more."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate import runs
from curate.crawl.returns import Returns, beforehand, returns
from curate.crawl.sources import searches
from curate.project import Project
from curate.select import unlabelled_ids
from curate.status import status
from db.batches import chunks
from db.models import Image, Prediction

_WORTHLESS = 0.1
"""A query is dropped once its share of the class is surely below this: none of 35 images, say, or one of 53."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One query to one source, and the share of its images that is to be expected of the class."""

    source: str
    query: str
    expected: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """One query that is not asked again, with what it brought."""

    source: str
    query: str
    accepted: int
    labelled: int

    def why(self, name: str) -> str:
        """In one line."""
        return f"{self.source} {self.query!r} is left out: {self.accepted} of {self.labelled} labelled are {name}"


@dataclass(frozen=True, slots=True)
class Shortage:
    """One class that is short of labels and of images that could have them."""

    name: str
    lacks: int
    """Labels to its target."""
    expected: float
    """Images of it among those that wait for a label: by the best run, or by what its queries bring."""
    want: int
    """Images to collect, so that as many are of it as are lacking then; at most its target at a time."""
    queries: Sequence[Asked]
    """The best first."""
    dropped: Sequence[Dropped]


def shortages(project: Project, sources: Sequence[str]) -> list[Shortage]:
    """Find them, and plan what to ask these sources; those that lack most first."""
    stands = status(project).classes
    with project.database.read() as session:
        found = returns(session)
        waiting = _waiting(project, session, found)
    short = []
    for name, counts in stands.items():
        lacks = counts.target - counts.labelled
        if lacks > waiting[name]:
            queries, dropped = _queries(found, name, project.settings.queries(name), sources)
            share = max((one.expected for one in queries), default=1.0)
            want = min(counts.target, math.ceil((lacks - waiting[name]) / share))
            short.append(Shortage(name, lacks, waiting[name], want, queries, dropped))
    return sorted(short, key=lambda one: (one.expected - one.lacks, one.name))


def _queries(
    found: Sequence[Returns], name: str, own: Sequence[str], sources: Sequence[str]
) -> tuple[list[Asked], list[Dropped]]:
    """Sort a class's queries by what they bring of it; among them those of others that bring more than they usually."""
    engines = [source for source in sources if searches(source)]
    usual = beforehand(found, name, own)
    known = {(one.source, one.query): one for one in found}
    asked, dropped = [], []
    for source in engines:
        for query in own:
            one = known.get((source, query), Returns(source, query, name, 0, 0, {}))
            share = one.of(name)
            if share.interval[1] < _WORTHLESS:
                dropped.append(Dropped(source, query, share.hits, share.of))
            else:
                asked.append(Asked(source, query, one.expected(name, usual)))
    others = [one for one in found if one.query not in own and one.source in engines]
    # Drawn towards nothing: a query that was made for something else has to prove that it brings this.
    asked += [Asked(one.source, one.query, worth) for one in others if (worth := one.expected(name, 0.0)) > usual]
    return sorted(asked, key=lambda one: -one.expected), dropped


def _waiting(project: Project, session: Session, found: Sequence[Returns]) -> Mapping[str, float]:
    """How many images of each class are to be expected among those that wait for a label.

    By the best run's probabilities; where it has not answered, by how often queries for a class bring it.
    """
    names = {class_id: name for name, class_id in project.classes(session).items()}
    ids = unlabelled_ids(session)
    expected: dict[str, float] = defaultdict(float)
    answered = _add_predicted(session, list(names.values()), ids, expected)
    usual = {name: beforehand(found, name, project.settings.queries(name)) for name in names.values()}
    for batch in chunks(number for number in ids if number not in answered):
        for class_id in session.scalars(select(Image.collected_for_id).where(Image.id.in_(batch))):
            if class_id in names:
                expected[names[class_id]] += usual[names[class_id]]
    return expected


def _add_predicted(session: Session, classes: list[str], ids: Sequence[int], expected: dict[str, float]) -> set[int]:
    """Add what the best run says of images to `expected`; give those of which it has said something."""
    run = runs.best(session, classes)
    if run is None:
        return set()
    said, answered = runs.names_now(session, run), set()
    columns = (Prediction.image_id, Prediction.outside, Prediction.probabilities)
    for batch in chunks(ids):
        mine = (Prediction.run_id == run.id) & Prediction.image_id.in_(batch)
        for image, outside, probabilities in session.execute(select(*columns).where(mine)):
            answered.add(image)
            for name, probability in zip(said, () if outside else probabilities, strict=False):
                if name is not None:
                    expected[name] += probability
    return answered
