"""Images of which people say different things."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from curate.people.voices import heard
from db.policy import Decision
from db.reviews import decided


@dataclass(frozen=True, slots=True)
class Dispute:
    """One image, and what each person says of it."""

    image_id: int
    said: Mapping[str, Decision]


def disputed(session: Session) -> list[Dispute]:
    """List the images whose people disagree, those aside that somebody has decided since being asked to."""
    done = decided(session)
    return [
        Dispute(image_id, said)
        for image_id, said in sorted(heard(session).items())
        if len(set(said.values())) > 1 and image_id not in done
    ]
