"""Taking bytes in, as a crawl does."""

from sqlalchemy.orm import Session

from curate.ingest.facts import Facts
from curate.ingest.intake import Intake, Outcome


def take(session: Session, intake: Intake, data: bytes) -> Outcome:
    """What bytes are, stored if they are an image."""
    outcome = intake.judge(data)
    if isinstance(outcome, Facts):
        intake.keep(session, [(data, outcome)])
    return outcome
