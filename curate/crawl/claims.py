"""Who works on which address. A claim is a row with an owner and a lease, so it outlives a process, and not by long."""

import os
import socket
import uuid
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.files import process_lives
from db.models import Candidate, CandidateState
from db.models.base import now

LEASE = timedelta(seconds=60)
"""After this long without a sign of life a claim is taken over; on the same machine, as soon as its process ends."""


def new_owner() -> str:
    """Name of this process, as claims carry it."""
    return f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"


def claim(session: Session, candidate_id: int, owner: str) -> Candidate | None:
    """Take a candidate, unless it is decided for good or another living process has it."""
    candidate = session.get_one(Candidate, candidate_id)
    if not is_open(candidate):
        return None
    candidate.state, candidate.owner, candidate.lease_until = CandidateState.CLAIMED, owner, now() + LEASE
    candidate.attempts += 1
    return candidate


def is_open(candidate: Candidate) -> bool:
    """Whether there is something left to do for a candidate that no living process does."""
    if candidate.state is CandidateState.FAILED:
        return candidate.reason is not None and candidate.reason.passing
    if candidate.state is CandidateState.CLAIMED:
        return is_stale(candidate)
    return candidate.state is CandidateState.PENDING


def is_stale(candidate: Candidate) -> bool:
    """Whether the owner of a claim is dead: known to be on this machine, assumed on another once its lease is over."""
    host, _, rest = (candidate.owner or "").partition("/")
    number = rest.partition("/")[0]
    if host == socket.gethostname() and number.isdigit() and not process_lives(int(number)):
        return True
    return candidate.lease_until is None or candidate.lease_until < now()


def renew(session: Session, owner: str) -> None:
    """Give a sign of life for everything that `owner` has claimed."""
    mine = (Candidate.owner == owner) & (Candidate.state == CandidateState.CLAIMED)
    session.execute(update(Candidate).where(mine).values(lease_until=now() + LEASE))


def release(session: Session, owner: str) -> None:
    """Let go of everything that `owner` has claimed and not decided."""
    _reopen(session, list(session.scalars(select(Candidate).where(Candidate.owner == owner))))


def release_stale(session: Session) -> int:
    """Let go of what dead processes have claimed, and give how much that was."""
    claimed = session.scalars(select(Candidate).where(Candidate.state == CandidateState.CLAIMED))
    stale = [candidate for candidate in claimed if is_stale(candidate)]
    _reopen(session, stale)
    return len(stale)


def _reopen(session: Session, candidates: Sequence[Candidate]) -> None:
    for candidate in candidates:
        if candidate.state is CandidateState.CLAIMED:
            candidate.state = CandidateState.PENDING
        candidate.owner = candidate.lease_until = None
    session.flush()
