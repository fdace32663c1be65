"""`curate label accept`: a run taken at its word where it has proved to be right, and a sample of that checked."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from sqlalchemy import select
from sqlalchemy.orm import Session
from torch.nn import functional

from curate import runs
from curate.config import class_key
from curate.people.sample import falls_within
from curate.prelabel import predict_unlabelled
from curate.progress import QUIET, Progress
from curate.project import Project
from curate.select import unlabelled_ids
from db.batches import chunks
from db.classes import ids_now
from db.labels import Answer, record, settle
from db.models import (
    Annotation,
    AnnotationOrigin,
    AnnotationState,
    Image,
    Prediction,
    Review,
    ReviewReason,
    Run,
)
from db.models.base import now
from db.reviews import ask
from trainer.predict import read_run, read_validation
from trainer.trust import Threshold, threshold


@dataclass(frozen=True, slots=True)
class AcceptReport:
    """What was accepted now. `thresholds` has for each class the score from which on its answers are taken."""

    run: str
    precision: float
    thresholds: dict[str, Threshold]
    accepted: dict[str, int]
    to_check: int
    """Of these, how many people are asked to look at."""
    counted: bool
    """Whether they count as labels: `labelling.accepted_count`."""


def accept(
    project: Project, precision: float, check: float, run: str | None = None, progress: Progress = QUIET
) -> AcceptReport:
    """Accept the best run's answers, or `run`'s, for unlabelled images, wherever it is right often enough.

    A class's threshold is the smallest score from which on a share `precision` of its answers on the held-out images
    is right. Images of which a person has said anything, a skip too, and those that seem to be of no class, are left
    to people; so is a share `check` of what is accepted, without a pre-label, to see whether the claim holds.
    Raises DatasetError when no run is finished.
    """
    name = predict_unlabelled(project, run, progress).run
    limits = _thresholds(project, name, precision)
    with project.database.write() as session:
        chosen = runs.choose(session, name, [c.name for c in project.settings.classes])
        taken = _taken(session, chosen, limits)
        ids = ids_now(session, map(class_key, chosen.classes))  # a class may have been renamed since
        named = ((said, ids[said.class_index]) for said in taken)
        record(session, [_answer(said, class_id, chosen) for said, class_id in named if class_id is not None])
        checks = [p.image_id for p in taken if falls_within(p.image_id, check, project.settings, "check")]
        ask(session, checks, ReviewReason.CHECK)
        counts = Counter(chosen.classes[said.class_index] for said in taken)
    counted = project.settings.labelling.accepted_count
    return AcceptReport(name, precision, limits, dict(counts), len(checks), counted)


def take_back(project: Project) -> int:
    """Withdraw everything that was accepted unseen; give the number of images. The answers stay on record."""
    with project.database.write() as session:
        query = select(Annotation).where(
            Annotation.origin == AnnotationOrigin.ACCEPTED, Annotation.state == AnnotationState.ACTIVE
        )
        standing = session.scalars(query).all()
        moment = now()
        record(
            session,
            [
                Answer(a.key, a.origin, a.image_id, AnnotationState.DELETED, a.class_id, moment, annotator=a.annotator)
                for a in standing
            ],
        )
        ids = [annotation.image_id for annotation in standing]
        for batch in chunks(ids):
            asked = (Review.reason == ReviewReason.CHECK) & Review.done_at.is_(None)
            for review in session.scalars(select(Review).where(asked, Review.image_id.in_(batch))):
                session.delete(review)
        session.flush()
        settle(session, ids)
    return len(ids)


def _thresholds(project: Project, run: str, precision: float) -> dict[str, Threshold]:
    folder = project.runs / run
    told = read_run(folder)
    said = read_validation(folder)
    probabilities = functional.softmax(said.logits.double() / told["temperature"], dim=1)
    scores, answers = (tensor.numpy() for tensor in torch.max(probabilities, 1))
    right = answers == said.labels.numpy()
    return {
        name: threshold(scores[answers == label], right[answers == label], precision)
        for label, name in enumerate(told["classes"])
    }


def _taken(session: Session, run: Run, limits: Mapping[str, Threshold]) -> Sequence[Prediction]:
    waiting = set(unlabelled_ids(session))
    spoken = select(Annotation.image_id).where(Annotation.origin != AnnotationOrigin.ACCEPTED)
    asked = select(Review.image_id)
    query = select(Prediction).join(Image, Image.id == Prediction.image_id)
    query = query.where(Prediction.run_id == run.id, Prediction.outside.is_(False))
    query = query.where(Prediction.image_id.not_in(spoken), Prediction.image_id.not_in(asked))
    return [said for said in session.scalars(query) if said.image_id in waiting and _sure(said, run, limits)]


def _sure(said: Prediction, run: Run, limits: Mapping[str, Threshold]) -> bool:
    limit = limits[run.classes[said.class_index]].score
    return limit is not None and said.score >= limit


def _answer(said: Prediction, class_id: int, run: Run) -> Answer:
    return Answer(
        key=f"accepted:{said.image_id}",
        origin=AnnotationOrigin.ACCEPTED,
        image_id=said.image_id,
        state=AnnotationState.ACTIVE,
        class_id=class_id,
        answered_at=now(),
        annotator=run.name,
        raw={"run": run.name, "score": said.score},
    )
