"""From an address and its bytes to rows: what is offered, what becomes of it, and where each image was seen."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Self

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.config import IngestSettings
from curate.crawl.guard import host_of
from curate.ingest import facts
from curate.ingest.facts import Facts
from curate.project import Project
from curate.quality.checks import find
from curate.quality.settings import QualitySettings
from curate.rights import Policy
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
    licence_said: str = ""
    licence_url: str = ""
    attribution: str = ""
    source_id: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


Outcome = Facts | Refusal
FORGOTTEN = Refusal(Reason.FORGOTTEN, "taken out for good earlier")


@dataclass(frozen=True)
class Intake:
    """What every image goes through: a judge of bytes, the store, and hashes of images that must not come back."""

    limits: IngestSettings
    store: ImageStore
    forgotten: frozenset[str]
    examine: Callable[[bytes], Outcome]
    """Decodes and tells what it is, in this process or in another one."""
    quality: QualitySettings
    """What an image must be like to be used: one that is not is taken in and set aside."""

    @classmethod
    def of(cls, project: Project, examine: Callable[[bytes], Outcome] | None = None) -> Self:
        """Make the intake of a project, as things stand now."""
        limits = project.settings.ingest
        with project.database.read() as session:
            forgotten = session.scalars(select(Image.sha256).where(Image.state == ImageState.FORGOTTEN))
            judge = examine or partial(facts.examine, limits=limits)
            return cls(limits, project.store, frozenset(forgotten), judge, project.settings.quality)

    def judge(self, data: bytes) -> Outcome:
        """Tell what bytes are, and whether they may come in. Touches no database, so many can run side by side."""
        outcome = self.examine(data)
        if isinstance(outcome, Refusal):
            return outcome
        if outcome.sha256 in self.forgotten:
            return FORGOTTEN
        found = find(outcome.measures, self.quality)
        return outcome if found is None else replace(outcome, finding=found.reason)

    def keep(self, session: Session, images: Iterable[tuple[bytes, Facts]]) -> None:
        """Store what was judged to be images, all or none: in the transaction that writes them down.

        So no file that another process sees while it writes waits for its row, and what was forgotten since we began
        stays away. Raises StoreError.
        """
        found = {facts.sha256: (data, facts) for data, facts in images}
        for hashes in chunks(found):
            forgotten = Image.sha256.in_(hashes) & (Image.state == ImageState.FORGOTTEN)
            for sha256 in session.scalars(select(Image.sha256).where(forgotten)):
                del found[sha256]
        self.store.put_all({self.store.path(facts.sha256, facts.format): data for data, facts in found.values()})
        fault("images.stored")


@dataclass(frozen=True, slots=True)
class Collecting:
    """What addresses are collected for, and under which terms."""

    target: str = ""
    """As `Candidate.target` keeps it."""
    class_id: int | None = None
    policy: Policy = Policy.ANY
    begun_at: datetime | None = None
    """What failed in passing before then is tried again when it is shown again; None tries all of it."""
    again: bool = False
    """Whether nothing new is asked for, but what gave an image before."""


def register(session: Session, offers: Sequence[Offer], collecting: Collecting) -> dict[str, Candidate]:
    """Note that a source showed these addresses, and give the candidate of each address, new or known."""
    candidates: dict[str, Candidate] = {}
    for batch in chunks(offers):
        addresses = [offer.address for offer in batch]
        found = session.scalars(select(Candidate).where(Candidate.address.in_(addresses)))
        candidates.update({c.address: c for c in found})
        said = _licences_said(session, candidates)
        for offer in batch:
            candidate = candidates.get(offer.address)
            if candidate is None:
                candidates[offer.address] = candidate = _candidate(offer)
                session.add(candidate)
            said.setdefault(offer.address, set()).add(offer.licence)
            _collect(candidate, offer, collecting, said[offer.address])
        session.flush()
        _note_sightings(session, batch, candidates, collecting.class_id)
    return candidates


def _licences_said(session: Session, candidates: Mapping[str, Candidate]) -> dict[str, set[str]]:
    """What sources said before of these addresses: one that says nothing must not undo what another has said."""
    addresses = {candidate.id: address for address, candidate in candidates.items()}
    said: dict[str, set[str]] = {}
    for ids in chunks(addresses):
        rows = select(Sighting.candidate_id, Sighting.licence).where(Sighting.candidate_id.in_(ids)).distinct()
        for number, licence in session.execute(rows):
            said.setdefault(addresses[number], set()).add(licence)
    return said


def _candidate(offer: Offer) -> Candidate:
    host = "" if offer.local else host_of(offer.address)
    return Candidate(address=offer.address, local=offer.local, host=host, state=CandidateState.PENDING)


def _collect(candidate: Candidate, offer: Offer, collecting: Collecting, said: Collection[str]) -> None:
    """Let what is open be fetched for whoever shows it now, and refuse what may not be used by all that was `said`."""
    allowed = collecting.policy.allows_all(said)
    if candidate.state is CandidateState.FAILED and _may_be_tried_again(candidate, collecting, allowed=allowed):
        candidate.state, candidate.reason = CandidateState.PENDING, None
    if candidate.state is not CandidateState.PENDING or candidate.image_id is not None:
        return
    candidate.target, candidate.collected_for_id = collecting.target, collecting.class_id
    if not allowed:
        said = offer.licence_said or "no known licence"
        candidate.state, candidate.reason = CandidateState.FAILED, Reason.LICENCE_REFUSED
        candidate.detail, candidate.decided_at = f"{said}; only {collecting.policy} ones are taken", now()


def _may_be_tried_again(candidate: Candidate, collecting: Collecting, *, allowed: bool) -> bool:
    if candidate.reason is Reason.LICENCE_REFUSED:
        return allowed
    if candidate.reason is None or not candidate.reason.passing:
        return False
    begun_at = collecting.begun_at
    return begun_at is None or candidate.decided_at is None or candidate.decided_at < begun_at


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
        licence_said=offer.licence_said,
        licence_url=offer.licence_url,
        attribution=offer.attribution,
        source_id=offer.source_id,
        extra=dict(offer.extra),
    )
