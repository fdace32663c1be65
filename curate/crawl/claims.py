"""Who works on which address. A claim is a row with an owner and a lease, so it outlives a process, and not by long."""

import os
import socket
import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from curate.crawl.wire import Seen
from db.batches import chunks
from db.files import process_lives
from db.models import Candidate, CandidateState, Image, Sighting
from db.models.base import now
from db.reasons import Reason
from db.store import ImageStore

LEASE = timedelta(seconds=60)
"""After this long without a sign of life a claim is taken over; on the same machine, as soon as its process ends."""
_PASSING = [reason for reason in Reason if reason.passing]


@dataclass(frozen=True, slots=True)
class Work:
    """One claimed candidate."""

    id: int
    address: str
    host: str
    local: bool
    source: str
    """The source that showed it first."""
    seen: Seen


_LIVING: set[str] = set()
"""Owners in this process. After a restart another process may have had its number, as in a container."""


def new_owner() -> str:
    """Name of this process, as claims carry it."""
    owner = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
    _LIVING.add(owner)
    return owner


def claim(
    session: Session,
    target: str,
    owner: str,
    most: int,
    per_host: int,
    started: Counter[str],
    *,
    again: bool = False,
) -> list[Work]:
    """Take up to `most` open candidates of a target, oldest first, so that no host has more than `per_host` in work.

    `started` is what each host has in work already. Hosts that have enough are passed over, not waited for. Only what
    gave an image before, if `again`.
    """
    found: list[Candidate] = []
    count = Counter(started)
    # Each pass sets aside the hosts that the one before has filled: a list sorted by host must not hold up the others.
    while len(found) < most:
        enough = [host for host, number in count.items() if host and number >= per_host]
        rows = session.scalars(
            select(Candidate)
            .where(Candidate.target == target, _is_open(owner, again=again), Candidate.host.not_in(enough))
            .where(Candidate.id.not_in([candidate.id for candidate in found]))
            .order_by(Candidate.id)
            .limit(most - len(found))
        ).all()
        taken = []
        for candidate in rows:
            if not candidate.host or count[candidate.host] < per_host:
                count[candidate.host] += 1
                taken.append(candidate)
        found += taken
        if len(taken) == len(rows):
            break
    return _claimed(session, found, owner)


def _is_open(owner: str, *, again: bool = False) -> ColumnElement[bool]:
    """Waiting, or claimed by another whose lease is over. One's own is at work, whatever a clock that slept says."""
    abandoned = and_(Candidate.state == CandidateState.CLAIMED, Candidate.lease_until < now(), Candidate.owner != owner)
    is_open = or_(Candidate.state == CandidateState.PENDING, abandoned)
    return and_(is_open, Candidate.image_id.is_not(None)) if again else is_open


def _claimed(session: Session, candidates: Sequence[Candidate], owner: str) -> list[Work]:
    ids = [candidate.id for candidate in candidates]
    session.execute(
        update(Candidate)
        .where(Candidate.id.in_(ids))
        .values(state=CandidateState.CLAIMED, owner=owner, lease_until=now() + LEASE, attempts=Candidate.attempts + 1)
        .execution_options(synchronize_session=False)
    )
    first = select(func.min(Sighting.id)).where(Sighting.candidate_id.in_(ids)).group_by(Sighting.candidate_id)
    sources = {
        row[0]: row[1]
        for row in session.execute(select(Sighting.candidate_id, Sighting.source).where(Sighting.id.in_(first)))
    }
    return [_work(candidate, sources.get(candidate.id, "")) for candidate in candidates]


def _work(candidate: Candidate, source: str) -> Work:
    # Only of what is here can a server say that it has not changed.
    seen = Seen(candidate.etag, candidate.last_modified) if candidate.image_id is not None else Seen()
    return Work(candidate.id, candidate.address, candidate.host, candidate.local, source, seen)


def reopen(session: Session, target: str, before: datetime) -> None:
    """Take up again what failed before a moment for a reason that may have passed."""
    failed = (Candidate.state == CandidateState.FAILED) & Candidate.reason.in_(_PASSING)
    mine = (Candidate.target == target) & failed & (Candidate.decided_at < before)
    values = {"state": CandidateState.PENDING, "reason": None, "http_status": None, "detail": ""}
    session.execute(update(Candidate).where(mine).values(values))


def recheck(session: Session, target: str, store: ImageStore) -> None:
    """Take up again everything that a target's addresses once gave, to see whether it has changed."""
    decided = Candidate.state.in_([CandidateState.STORED, CandidateState.DUPLICATE])
    mine = (Candidate.target == target) & decided & Candidate.local.is_(False)
    rows = session.execute(
        select(Candidate.id, Image.sha256, Image.format).join(Image, Image.id == Candidate.image_id).where(mine)
    )
    # Of what is gone here no server may answer that it has not changed.
    gone = [number for number, sha256, image_format in rows if not store.path(sha256, image_format).exists()]
    for batch in chunks(gone):
        session.execute(update(Candidate).where(Candidate.id.in_(batch)).values(etag="", last_modified=""))
    session.execute(update(Candidate).where(mine).values(state=CandidateState.PENDING))


def open_count(session: Session, target: str, owner: str, *, again: bool = False) -> int:
    """How many candidates of a target nobody is at; of those that gave an image before, if `again`."""
    query = select(func.count()).select_from(Candidate)
    return session.scalar(query.where(Candidate.target == target, _is_open(owner, again=again))) or 0


def taken_by_others(session: Session, ids: Collection[int], owner: str) -> int:
    """How many of these are no longer open."""
    return sum(
        session.scalar(select(func.count()).select_from(Candidate).where(Candidate.id.in_(batch), ~_is_open(owner)))
        or 0
        for batch in chunks(ids)
    )


def is_stale(candidate: Candidate) -> bool:
    """Whether the owner of a claim is dead: known to be on this machine, assumed on another once its lease is over."""
    host, _, rest = (candidate.owner or "").partition("/")
    number = rest.partition("/")[0]
    if host == socket.gethostname() and number.isdigit():
        if int(number) == os.getpid():
            return candidate.owner not in _LIVING
        if not process_lives(int(number)):
            return True
    return candidate.lease_until is None or candidate.lease_until < now()


def renew(session: Session, owner: str) -> None:
    """Give a sign of life for everything that `owner` has claimed."""
    mine = (Candidate.owner == owner) & (Candidate.state == CandidateState.CLAIMED)
    session.execute(update(Candidate).where(mine).values(lease_until=now() + LEASE))


def release(session: Session, owner: str) -> None:
    """Let go of everything that `owner` has claimed and not decided."""
    mine = (Candidate.owner == owner) & (Candidate.state == CandidateState.CLAIMED)
    _let_go(session, list(session.scalars(select(Candidate.id).where(mine))))


def release_some(session: Session, ids: Collection[int], owner: str) -> None:
    """Let go of these, as far as `owner` still has them."""
    for batch in chunks(ids):
        mine = (Candidate.owner == owner) & (Candidate.state == CandidateState.CLAIMED) & Candidate.id.in_(batch)
        _let_go(session, list(session.scalars(select(Candidate.id).where(mine))))


def release_stale(session: Session) -> int:
    """Let go of what dead processes have claimed, and give how much that was."""
    claimed = session.scalars(select(Candidate).where(Candidate.state == CandidateState.CLAIMED))
    stale = [candidate.id for candidate in claimed if is_stale(candidate)]
    _let_go(session, stale)
    return len(stale)


def _let_go(session: Session, ids: Collection[int]) -> None:
    for batch in chunks(ids):
        values = {"state": CandidateState.PENDING, "owner": None, "lease_until": None}
        session.execute(update(Candidate).where(Candidate.id.in_(batch)).values(values))
