"""What earlier runs left waiting, held against what is asked for now: its queries, and its terms."""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, and_, exists, false, or_, select, true, update
from sqlalchemy.orm import Session

from curate.crawl.interface import Finder
from curate.crawl.report import Target
from curate.rights import Policy
from db.models import Candidate, CandidateState, Search, Sighting
from db.models.base import now
from db.reasons import Reason

_SHOWN = Sighting.candidate_id == Candidate.id


def keep_to_queries(session: Session, target: Target, finders: Sequence[Finder]) -> None:
    """Let go of queries that are no longer asked and of what only they showed; take back what one that is asked did.

    Only of those of these finders that answer queries. What was let go waits on, and belongs to no target.
    """
    engines = [finder for finder in finders if finder.searches]
    if not engines:
        return
    asked = {finder.name: {finder.first(query).query for query in target.queries} for finder in engines}
    gone = or_(*(and_(Search.source == name, Search.query.not_in(queries)) for name, queries in asked.items()))
    session.execute(update(Search).where(Search.target == target.key, gone).values(target=""))
    for finder in engines:
        asked[finder.name] -= {finder.first(query).query for name, query in target.left_out if name == finder.name}
    by_asked = or_(*(and_(Sighting.source == name, Sighting.query.in_(queries)) for name, queries in asked.items()))
    by_others = Sighting.source.not_in(asked)
    unasked = and_(exists().where(_SHOWN), ~exists().where(_SHOWN, or_(by_asked, by_others)))
    _update(session, Candidate.target == target.key, _waits(), unasked, values={"target": ""})
    mine = {"target": target.key, "collected_for_id": target.class_id}
    _update(session, Candidate.target == "", _waits(), exists().where(_SHOWN, by_asked), values=mine)


def keep_to_terms(session: Session, target: Target, policy: Policy) -> list[int]:
    """Refuse what waits and may not be used under these terms, and give the ids; let wait again what now may be."""
    mine, usable = Candidate.target == target.key, _usable(session, policy)
    refused = and_(Candidate.state == CandidateState.FAILED, Candidate.reason == Reason.LICENCE_REFUSED)
    _update(session, mine, refused, usable, values={"state": CandidateState.PENDING, "reason": None, "detail": ""})
    unusable = and_(mine, _waits(), exists().where(_SHOWN), ~usable)
    found = session.scalars(select(Candidate.id).where(unusable)).all()
    detail = f"found before under other terms; only {policy} ones are taken"
    values = {"state": CandidateState.FAILED, "reason": Reason.LICENCE_REFUSED, "detail": detail, "decided_at": now()}
    _update(session, unusable, values=values)
    return list(found)


def _waits() -> ColumnElement[bool]:
    return and_(Candidate.state == CandidateState.PENDING, Candidate.image_id.is_(None))


def _usable(session: Session, policy: Policy) -> ColumnElement[bool]:
    """As `Policy.allows_all` has it, of all that sources said of an address."""
    if policy is Policy.ANY:
        return true()
    known = [licence for licence in session.scalars(select(Sighting.licence).distinct()) if licence]
    taken = [licence for licence in known if policy.allows(licence)]
    others = [licence for licence in known if licence not in taken]
    allowed = exists().where(_SHOWN, Sighting.licence.in_(taken)) if taken else false()
    return and_(allowed, ~exists().where(_SHOWN, Sighting.licence.in_(others)))


def _update(session: Session, *where: ColumnElement[bool], values: Mapping[str, object]) -> None:
    session.execute(update(Candidate).where(*where).values(values).execution_options(synchronize_session=False))
