"""`curate label review`: images on which people differ, in a view of their own for somebody to decide."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.handout import Which
from curate.labelling import Labelling
from curate.people.disagreement import disputed
from curate.people.voices import heard
from curate.project import Project
from db.batches import chunks
from db.labels import said
from db.models import Class, Image, ReviewReason
from db.reviews import ask, told, waiting


@dataclass(frozen=True, slots=True)
class Question:
    """An image that somebody is to decide. `answers` has what each person says of it now."""

    id: int
    path: str
    reason: str
    detail: str
    """What an audit found."""
    answers: dict[str, str]


@dataclass(frozen=True, slots=True)
class ReviewReport:
    """What is to be decided, and how many of the images Label Studio shows; None where it was not asked to."""

    images: list[Question]
    shown: int | None


def review(project: Project, desk: Labelling, *, send: bool) -> ReviewReport:
    """List what people disagree on and what else waits for a decision; with `send`, show it in Label Studio.

    Images that have no task there get one. What is answered from then on outranks all earlier answers for these images,
    whatever the policy, unless it was asked as a mere check.
    """
    if send:
        desk.pull()  # or what was said before the question would be taken for the answer to it
        with project.database.write() as session:
            ask(session, [dispute.image_id for dispute in disputed(session)], ReviewReason.DISAGREEMENT)
        desk.push(which=Which.ASKED)
    with project.database.read() as session:
        reasons = {dispute.image_id: ReviewReason.DISAGREEMENT for dispute in disputed(session)} | waiting(session)
        questions = _questions(session, {number: reason.value for number, reason in sorted(reasons.items())})
    shown = desk.show_reviews({question.id: _words(question) for question in questions}) if send else None
    return ReviewReport(questions, shown)


def _questions(session: Session, reasons: dict[int, str]) -> list[Question]:
    names = {row.id: row.name for row in session.scalars(select(Class))}
    answers, details = heard(session), told(session)
    found = []
    for ids in chunks(reasons):
        for image in session.scalars(select(Image).where(Image.id.in_(ids)).order_by(Image.id)):
            mine = {
                person: said(class_id, other, names) or ""
                for person, (class_id, other) in answers.get(image.id, {}).items()
            }
            path = f"images/{image.relative_path}"
            found.append(Question(image.id, path, reasons[image.id], details.get(image.id, ""), mine))
    return found


def _words(question: Question) -> str:
    """Say in one line why it is to be decided: it stands beside the picture in the view."""
    answers = ", ".join(f"{label} ({person})" for person, label in question.answers.items())
    return ": ".join(filter(None, (question.reason, question.detail, answers)))
