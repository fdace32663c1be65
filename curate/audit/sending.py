"""`curate audit --send`: findings to people, as images to review in Label Studio."""

from collections.abc import Iterable
from dataclasses import dataclass

from curate.audit.audit import Issue
from curate.labelling import Labelling
from curate.people.review import review
from curate.project import Project
from db import reviews
from db.models import ReviewReason


@dataclass(frozen=True, slots=True)
class Sent:
    """Images that people are asked about since now, and all that wait for a decision in Label Studio."""

    asked: int
    shown: int


def send(project: Project, desk: Labelling, issues: Iterable[Issue]) -> Sent:
    """Ask people to decide the images of these findings, and show all that waits in the view for review.

    What they answer outranks all earlier answers, whatever the policy, and settles the finding even where it confirms
    the label. Doing it again asks nothing twice. Raises LabelStudioError.
    """
    details = {image: f"labelled {i.finding.label}; {i.finding.reason}" for i in issues for image in i.ask}
    desk.pull()  # as `review` does, for the same reason
    with project.database.write() as session:
        asked = reviews.ask(session, details, ReviewReason.SUSPECT, details)
    return Sent(asked, review(project, desk, send=True).shown or 0)
