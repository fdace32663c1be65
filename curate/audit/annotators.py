"""People whose labels are often wrong: by the audit, by what others decided, and by how far they agree with others."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.people import crowdlab
from curate.people.voices import heard
from curate.share import Share
from db.batches import chunks
from db.models import Label
from db.policy import Decision


@dataclass(frozen=True, slots=True)
class Annotator:
    """One person, and how far their labels can be believed."""

    name: str
    found: Share
    """Of the images that this person named a class of, those whose label, as this person gave it, the audit doubts."""
    overruled: Share
    """Of the images that this person answered, those whose label is decided and says otherwise."""
    quality: float | None
    """CROWDLAB's, from 0 to 1; None where this person has answered nothing that others have, too."""
    noisy: bool
    """The audit doubts more of this person's labels than of all others', beyond chance."""


def annotators(
    session: Session,
    doubted: Mapping[int, int],
    probabilities: Mapping[int, NDArray[np.float64]],
    order: Sequence[int],
) -> list[Annotator]:
    """Judge everybody who labels, those first of whose labels the largest share is doubted.

    `doubted` has the class ids of labels that the audit doubts, by image; `probabilities` those of the classes with
    these ids, in `order`, by models that have not learned from the image.
    """
    answers = heard(session)
    wrong, named = _found(answers, doubted)
    overruled, given = _overruled(session, answers)
    votes = {
        image: said
        for image, said in crowdlab.named(answers).items()
        if image in probabilities and set(said.values()) <= set(order)
    }
    qualities = crowdlab.qualities(votes, probabilities, order)
    total, every = wrong.total(), named.total()
    found = []
    for name in given:
        mine = Share(wrong[name], named[name])
        others = Share(total - mine.hits, every - mine.of)
        noisy = bool(others.of) and mine.interval[0] > others.interval[1]
        found.append(Annotator(name, mine, Share(overruled[name], given[name]), qualities.get(name), noisy))
    return sorted(found, key=lambda one: (-(one.found.value or 0.0), one.name))


def _found(
    answers: Mapping[int, Mapping[str, Decision]], doubted: Mapping[int, int]
) -> tuple[Counter[str], Counter[str]]:
    wrong, named = Counter[str](), Counter[str]()
    for image, said in answers.items():
        for person, (class_id, _) in said.items():
            if class_id is not None:
                named[person] += 1
                wrong[person] += doubted.get(image) == class_id
    return wrong, named


def _overruled(session: Session, answers: Mapping[int, Mapping[str, Decision]]) -> tuple[Counter[str], Counter[str]]:
    stands = _labels(session, answers)
    overruled, given = Counter[str](), Counter[str]()
    for image, said in answers.items():
        for person, decision in said.items():
            given[person] += 1
            overruled[person] += image in stands and stands[image] != decision
    return overruled, given


def _labels(session: Session, images: Iterable[int]) -> dict[int, Decision]:
    """What each image's own label says, where something is decided."""
    found: dict[int, Decision] = {}
    for batch in chunks(images):
        rows = session.execute(
            select(Label.image_id, Label.class_id, Label.other).where(Label.image_id.in_(batch), ~Label.conflict)
        )
        found.update({image: (class_id, other) for image, class_id, other in rows})
    return found
