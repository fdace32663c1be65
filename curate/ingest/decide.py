"""What became of candidates, written down: image rows for new bytes, reasons for the rest, sightings in their place."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, inspect, select, update
from sqlalchemy.orm import Session

from curate.ingest.facts import Facts
from curate.ingest.intake import FORGOTTEN, Outcome
from curate.quality.apply import record_new
from db.batches import chunks
from db.models import Candidate, CandidateState, Image, ImageState, Sighting
from db.models.base import now
from db.reasons import Refusal

_UNFLUSHED = {"autoflush": False}
"""What is dirty are candidates, which are written once, when all is decided."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What is asked of an image on record. Rows that go in as rows, not as objects, take a quarter less time."""

    id: int
    state: ImageState


def decide(session: Session, outcomes: Iterable[tuple[Candidate, Outcome]]) -> list[CandidateState]:
    """Write down what became of candidates; give their states in the order given."""
    return [state for batch in chunks(outcomes) for state in _decide(session, batch)]


def _decide(session: Session, outcomes: Sequence[tuple[Candidate, Outcome]]) -> list[CandidateState]:
    images, new = _images(session, outcomes)
    moved: list[tuple[Candidate, int | None]] = []
    states = []
    for candidate, outcome in outcomes:
        before = (candidate.state, candidate.image_id, candidate.reason)
        if isinstance(outcome, Refusal):
            states.append(_refuse(candidate, outcome))
        else:
            states.append(_accept(candidate, outcome.sha256, images[outcome.sha256], new))
        candidate.owner = candidate.lease_until = None
        if candidate.image_id is not None and candidate.image_id != before[1]:
            moved.append((candidate, before[1]))
        if before != (candidate.state, candidate.image_id, candidate.reason):
            candidate.decided_at = now()  # of what is decided as before, the first time stands
    session.flush()
    _place_sightings(session, moved)
    return states


def _images(session: Session, outcomes: Sequence[tuple[Candidate, Outcome]]) -> tuple[dict[str, _Held], set[str]]:
    """Images of all bytes that were taken, by hash, and the hashes of those that are new."""
    facts = {
        outcome.sha256: (candidate, outcome) for candidate, outcome in reversed(outcomes) if isinstance(outcome, Facts)
    }
    columns = (Image.sha256, Image.id, Image.state)
    query = select(*columns).where(Image.sha256.in_(facts))
    known = session.execute(query, execution_options=_UNFLUSHED).all() if facts else []
    images = {sha256: _Held(number, state) for sha256, number, state in known}
    new = [pair for sha256, pair in reversed(facts.items()) if sha256 not in images]
    if new:
        rows = [_image(found, candidate) for candidate, found in new]
        made = session.execute(insert(Image).returning(*columns), rows, execution_options=_UNFLUSHED)
        images |= {sha256: _Held(number, state) for sha256, number, state in made}
        record_new(session, ((images[found.sha256].id, found.measures, found.finding) for _, found in new))
    return images, {found.sha256 for _, found in new}


def _image(facts: Facts, candidate: Candidate) -> dict[str, Any]:
    return {
        "sha256": facts.sha256,
        "phash": facts.phash,
        "width": facts.width,
        "height": facts.height,
        "format": facts.format,
        "bytes": facts.bytes,
        "sharpness": facts.sharpness,
        "state": ImageState.STORED if facts.finding is None else ImageState.SET_ASIDE,
        "state_reason": facts.finding,
        "collected_for_id": candidate.collected_for_id,
    }


def _accept(candidate: Candidate, sha256: str, image: _Held, new: set[str]) -> CandidateState:
    """Let a candidate have its image: the first one stores it, the others are copies."""
    if image.state is ImageState.FORGOTTEN:
        return _refuse(candidate, FORGOTTEN)
    if sha256 in new:
        new.discard(sha256)
        state = CandidateState.STORED
    elif candidate.image_id == image.id and candidate.state in {CandidateState.STORED, CandidateState.DUPLICATE}:
        return CandidateState.DUPLICATE  # seen here before, as an import that is run twice: nothing changes
    else:
        state = CandidateState.DUPLICATE
    candidate.state, candidate.image_id = state, image.id
    candidate.reason, candidate.http_status, candidate.detail = None, None, ""
    return state


def _refuse(candidate: Candidate, refusal: Refusal) -> CandidateState:
    candidate.state = CandidateState.FAILED
    candidate.reason, candidate.http_status, candidate.detail = refusal.reason, refusal.http_status, refusal.detail
    return CandidateState.FAILED


def _place_sightings(session: Session, moved: Sequence[tuple[Candidate, int | None]]) -> None:
    """Let sightings name the image that was found there. Where it was another before, that one keeps its own."""
    ids = [candidate.id for candidate, _ in moved]
    image = select(Candidate.image_id).where(Candidate.id == Sighting.candidate_id).scalar_subquery()
    waiting = Sighting.candidate_id.in_(ids) & Sighting.image_id.is_(None)
    session.execute(update(Sighting).where(waiting).values(image_id=image).execution_options(synchronize_session=False))
    for candidate, before in moved:
        if before is not None:
            _see_again(session, candidate, before)


def _see_again(session: Session, candidate: Candidate, before: int) -> None:
    query = select(Sighting).where(Sighting.candidate_id == candidate.id)
    rows = session.scalars(query).all()
    there = {(row.source, row.query) for row in rows if row.image_id == candidate.image_id}
    for row in rows:
        if row.image_id == before and (row.source, row.query) not in there:
            session.add(_copy(row, candidate.image_id))


def _copy(row: Sighting, image_id: int | None) -> Sighting:
    values = {column.key: getattr(row, column.key) for column in inspect(Sighting).column_attrs}
    return Sighting(**values | {"id": None, "image_id": image_id, "seen_at": now()})
