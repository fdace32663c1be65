"""The policy `crowdlab`: several people's answers and a run's own, each weighed by how far it proved right.

CROWDLAB (Goh, Tkachenko and Mueller, "CROWDLAB: Supervised learning to infer consensus labels and quality scores for
data with multiple annotators", 2022), by cleanlab.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.config import class_key
from curate.people.voices import heard
from curate.project import Project
from db.answers import Rule
from db.batches import chunks
from db.classes import ids_now
from db.models import Annotation, AnnotationOrigin, AnnotationState, Label, Prediction, Run, Side, SnapshotItem
from db.policy import Decision
from db.reviews import decided

Votes = Mapping[int, Mapping[str, int]]
"""Class ids by image and person."""
Probabilities = Mapping[int, NDArray[np.float64]]
"""Of the classes, by image."""


def settle(project: Project) -> int:
    """Let CROWDLAB decide the images that several people have labelled; give how many it decided otherwise.

    Only under the policy `crowdlab`. Left to the majority are images of which somebody says that they are of no class,
    those that no run has predicted without having learned from them, and those that somebody was asked to decide; and
    all of them as long as no two people have said the same of anything.
    """
    if project.settings.labelling.label_policy().rule is not Rule.CROWDLAB:
        return 0
    with project.database.write() as session:
        order = list(project.classes(session).values())
        votes = named(heard(session))
        probabilities = _predicted(session, votes, order)
        weighed = {image_id: votes[image_id] for image_id in probabilities}
        if not any(len(set(people.values())) < len(people) for people in weighed.values()):
            return 0  # nobody agrees with anybody: there is nothing to judge people by
        agreed = consensus(weighed, probabilities, order)
        return _write(session, {image_id: agreed[image_id] for image_id, people in weighed.items() if len(people) > 1})


def consensus(votes: Votes, probabilities: Probabilities, order: Sequence[int]) -> dict[int, int]:
    """Give the class id that CROWDLAB finds for each image. `probabilities` are in the order of the classes' ids."""
    labels = _weighed(votes, probabilities, order)["label_quality"]["consensus_label"].to_numpy()
    return {image_id: order[int(label)] for image_id, label in zip(votes, labels, strict=True)}


def qualities(votes: Votes, probabilities: Probabilities, order: Sequence[int]) -> dict[str, float]:
    """Give how good CROWDLAB finds each person's labels, from 0 to 1; nobody's where no two have answered one image."""
    if not any(len(said) > 1 for said in votes.values()):
        return {}
    found = _weighed(votes, probabilities, order)["annotator_stats"]["annotator_quality"]
    people = _people(votes)
    return {people[int(place)]: float(quality) for place, quality in found.items()}


def _people(votes: Votes) -> list[str]:
    return sorted({person for said in votes.values() for person in said})


def _weighed(votes: Votes, probabilities: Probabilities, order: Sequence[int]) -> dict[str, Any]:
    """What cleanlab makes of it: tables by image, in the order of `votes`, and by person, in that of their names."""
    from cleanlab.multiannotator import get_label_quality_multiannotator  # noqa: PLC0415 - a second to import

    people = _people(votes)
    place = {class_id: index for index, class_id in enumerate(order)}
    table = np.full((len(votes), len(people)), np.nan)
    for row, said in enumerate(votes.values()):
        for person, class_id in said.items():
            table[row, people.index(person)] = place[class_id]
    stacked = np.stack([probabilities[image_id] for image_id in votes])
    found: dict[str, Any] = get_label_quality_multiannotator(
        table, stacked, verbose=False, return_detailed_quality=False
    )
    return found


def named(answers: Mapping[int, Mapping[str, Decision]]) -> dict[int, dict[str, int]]:
    """Images of which everybody names a class."""
    found = {}
    for image_id, said in answers.items():
        classes = {person: class_id for person, (class_id, _) in said.items() if class_id is not None}
        if len(classes) == len(said):
            found[image_id] = classes
    return found


def _predicted(session: Session, votes: Votes, order: Sequence[int]) -> dict[int, NDArray[np.float64]]:
    """What the newest run that tells the present classes apart says of each image that it has not learned from."""
    learned = select(SnapshotItem.image_id).where(
        SnapshotItem.snapshot_id == Run.snapshot_id, SnapshotItem.side == Side.TRAIN
    )
    query = select(Prediction.image_id, Run.id, Prediction.probabilities).join(Run, Run.id == Prediction.run_id)
    fresh = Prediction.image_id.not_in(learned.correlate(Run))
    columns = _columns(session, order)
    found: dict[int, NDArray[np.float64]] = {}
    for ids in chunks(votes):
        rows = session.execute(query.where(Prediction.image_id.in_(ids), fresh).order_by(Run.id))
        for image_id, run_id, probabilities in rows:
            if run_id in columns:
                found[image_id] = np.asarray(probabilities, np.float64)[columns[run_id]]
    return found


def _columns(session: Session, order: Sequence[int]) -> dict[int, list[int]]:
    """Where each run that tells the present classes apart, and no others, has each of them.

    Their number and order are not enough: classes are reordered, and one is removed and another added.
    """
    found = {}
    for run in session.scalars(select(Run)):
        ids = ids_now(session, map(class_key, run.classes))
        if len(ids) == len(order) and set(ids) == set(order):
            found[run.id] = [ids.index(class_id) for class_id in order]
    return found


def _write(session: Session, agreed: Mapping[int, int]) -> int:
    """Let labels say what was decided, where somebody says so: a run alone against all people decides nothing."""
    changed = 0
    by_people = Annotation.origin == AnnotationOrigin.LABEL_STUDIO
    reviewed = decided(session)
    for ids in chunks(agreed):
        said = {
            (a.image_id, a.class_id): a
            for a in session.scalars(
                select(Annotation)
                .where(Annotation.image_id.in_(ids), by_people, Annotation.state == AnnotationState.ACTIVE)
                .order_by(Annotation.answered_at)
            )
        }
        for label in session.scalars(select(Label).where(Label.image_id.in_(ids))):
            class_id = agreed[label.image_id]
            annotation = said.get((label.image_id, class_id))
            if label.image_id in reviewed or annotation is None or label.class_id == class_id:
                continue
            label.class_id, label.other, label.conflict = class_id, None, False
            label.annotation_id, label.decided_at = annotation.id, annotation.answered_at
            changed += 1
    return changed
