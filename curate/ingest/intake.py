"""From an address and its bytes to rows: what is offered, what becomes of it, and where each image was seen."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from curate.config import IngestSettings
from curate.ingest.facts import Facts, examine
from curate.project import Project
from db.batches import chunks
from db.faults import fault
from db.models import Candidate, CandidateState, Image, ImageState, Sighting
from db.models.base import now
from db.reasons import Reason, Refusal
from db.store import ImageStore


@dataclass(frozen=True, slots=True)
class Offer:
    """A file address, and what the source that showed it says of it. Text is empty where the source says nothing."""

    address: str
    source: str
    query: str = ""
    local: bool = False
    name: str = ""
    page_url: str = ""
    title: str = ""
    creator: str = ""
    creator_url: str = ""
    licence: str = ""
    licence_version: str = ""
    licence_url: str = ""
    attribution: str = ""
    source_id: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


Outcome = Facts | Refusal
FORGOTTEN = Refusal(Reason.FORGOTTEN, "taken out for good earlier")


@dataclass(frozen=True)
class Intake:
    """What every image goes through: limits, the store, and hashes of images that must not come back."""

    limits: IngestSettings
    store: ImageStore
    forgotten: frozenset[str]

    @classmethod
    def of(cls, project: Project) -> Self:
        """Make the intake of a project, as things stand now."""
        with project.database.read() as session:
            forgotten = session.scalars(select(Image.sha256).where(Image.state == ImageState.FORGOTTEN))
            return cls(project.settings.ingest, project.store, frozenset(forgotten))

    def take(self, data: bytes) -> Outcome:
        """Judge bytes, and store them if they are an image. Touches no database, so many can run side by side."""
        outcome = examine(data, self.limits)
        if isinstance(outcome, Facts):
            if outcome.sha256 in self.forgotten:
                return FORGOTTEN
            self.store.put(data, outcome.sha256, outcome.format)
            fault("image.stored")
        return outcome


def register(session: Session, offers: Sequence[Offer], class_id: int | None) -> dict[str, Candidate]:
    """Note that a source showed these addresses, and give the candidate of each address, new or known."""
    candidates: dict[str, Candidate] = {}
    for batch in chunks(offers):
        addresses = [offer.address for offer in batch]
        found = session.scalars(select(Candidate).where(Candidate.address.in_(addresses)))
        candidates.update({c.address: c for c in found})
        for offer in batch:
            if offer.address not in candidates:
                candidate = Candidate(address=offer.address, local=offer.local, collected_for_id=class_id)
                session.add(candidate)
                candidates[offer.address] = candidate
        session.flush()
        _note_sightings(session, batch, candidates, class_id)
    return candidates


def _note_sightings(
    session: Session, offers: Sequence[Offer], candidates: Mapping[str, Candidate], class_id: int | None
) -> None:
    ids = {candidates[offer.address].id for offer in offers}
    rows = session.execute(
        select(Sighting.candidate_id, Sighting.source, Sighting.query).where(Sighting.candidate_id.in_(ids))
    )
    seen = {(candidate_id, source, query) for candidate_id, source, query in rows}
    for offer in offers:
        candidate = candidates[offer.address]
        key = (candidate.id, offer.source, offer.query)
        if key not in seen:
            seen.add(key)
            session.add(_sighting(offer, candidate, class_id))


def _sighting(offer: Offer, candidate: Candidate, class_id: int | None) -> Sighting:
    return Sighting(
        candidate_id=candidate.id,
        image_id=candidate.image_id,
        source=offer.source,
        query=offer.query,
        class_id=class_id,
        name=offer.name,
        page_url=offer.page_url,
        title=offer.title,
        creator=offer.creator,
        creator_url=offer.creator_url,
        licence=offer.licence,
        licence_version=offer.licence_version,
        licence_url=offer.licence_url,
        attribution=offer.attribution,
        source_id=offer.source_id,
        extra=dict(offer.extra),
    )


def decide(session: Session, outcomes: Iterable[tuple[Candidate, Outcome]]) -> list[CandidateState]:
    """Write down what became of candidates: image rows for new bytes, reasons for the rest; in the order given."""
    return [state for batch in chunks(outcomes) for state in _decide(session, batch)]


def _decide(session: Session, outcomes: Sequence[tuple[Candidate, Outcome]]) -> list[CandidateState]:
    hashes = {outcome.sha256 for _, outcome in outcomes if isinstance(outcome, Facts)}
    images = {image.sha256: image for image in session.scalars(select(Image).where(Image.sha256.in_(hashes)))}
    states = []
    for candidate, outcome in outcomes:
        before = (candidate.state, candidate.image_id, candidate.reason)
        if isinstance(outcome, Facts):
            states.append(_accept(session, candidate, outcome, images))
        else:
            states.append(_refuse(candidate, outcome))
        candidate.owner = candidate.lease_until = None
        if before != (candidate.state, candidate.image_id, candidate.reason):
            candidate.decided_at = now()  # of what is decided as before, the first time stands
    session.flush()
    return states


def _accept(session: Session, candidate: Candidate, facts: Facts, images: dict[str, Image]) -> CandidateState:
    image = images.get(facts.sha256)
    if image is None:
        state = CandidateState.STORED
        image = images[facts.sha256] = _image(facts, candidate.collected_for_id)
        session.add(image)
        session.flush()
    elif image.state is ImageState.FORGOTTEN:
        return _refuse(candidate, FORGOTTEN)
    elif candidate.image_id == image.id and candidate.state in {CandidateState.STORED, CandidateState.DUPLICATE}:
        return CandidateState.DUPLICATE  # seen here before, as an import that is run twice: nothing changes
    else:
        state = CandidateState.DUPLICATE
    candidate.state, candidate.image_id = state, image.id
    candidate.reason, candidate.http_status, candidate.detail = None, None, ""
    session.execute(update(Sighting).where(Sighting.candidate_id == candidate.id).values(image_id=image.id))
    return state


def _image(facts: Facts, class_id: int | None) -> Image:
    return Image(
        sha256=facts.sha256,
        phash=facts.phash,
        width=facts.width,
        height=facts.height,
        format=facts.format,
        bytes=facts.bytes,
        sharpness=facts.sharpness,
        collected_for_id=class_id,
    )


def _refuse(candidate: Candidate, refusal: Refusal) -> CandidateState:
    candidate.state = CandidateState.FAILED
    candidate.reason, candidate.http_status, candidate.detail = refusal.reason, refusal.http_status, refusal.detail
    return CandidateState.FAILED
