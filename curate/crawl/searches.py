"""How far each search has come: kept in the database, so that no page is asked for twice and none is forgotten."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from curate.crawl.interface import Finder, Page, Question
from curate.crawl.wire import Seen
from db.batches import chunks
from db.models import Search, SearchState
from db.models.base import now


@dataclass(frozen=True, slots=True)
class Turn:
    """A search whose next page is to be asked for."""

    id: int
    question: Question
    is_first: bool
    """Whether this is the page that the search begins with."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page showed that no page had shown before."""

    fresh: int
    """Addresses."""
    goes_on: bool
    """Whether the search is worth its further pages."""


def begin(session: Session, finder: Finder, queries: Sequence[str], target: str) -> None:
    """Open what a source is to be asked for a target: what was left open goes on, what was finished begins anew."""
    for query in queries:
        first = finder.first(query)
        rows = session.scalars(select(Search).where(Search.source == finder.name, Search.query == first.query)).all()
        by_part = {row.part: row for row in rows}
        if first.part not in by_part:
            session.add(_row(finder, first, target))
        unfinished = any(row.state is SearchState.OPEN for row in rows)
        if any(row.target != target for row in rows) and not finder.searches:
            unfinished = False  # of a list, whoever asks now has not seen its beginning, and it costs nobody much
        for row in rows:
            if row.target != target:
                # Whoever asks now has not seen what was shown before: no page may answer that it has not changed.
                row.target, row.etag, row.last_modified = target, "", ""
            # Of a site every page is looked at again; of a query its slices only once its first page shows news.
            if not unfinished and (row.part == first.part or not finder.searches):
                _restart(row)
    session.flush()


def _row(finder: Finder, question: Question, target: str) -> Search:
    return Search(
        source=finder.name,
        query=question.query,
        part=question.part,
        target=target,
        start=question.cursor,
        cursor=question.cursor,
    )


def _restart(row: Search) -> None:
    row.state, row.cursor = SearchState.OPEN, row.start


def following(
    session: Session, source: str, target: str, passed_over: Collection[int], queries: Sequence[str], *, in_order: bool
) -> Turn | None:
    """Give the open search, of these queries, that has shown the fewest pages, so that none alone fills a class.

    Or, where they are to be asked `in_order`, the first of them that is open.
    """
    query = (
        select(Search)
        .where(Search.source == source, Search.target == target, Search.state == SearchState.OPEN)
        .where(Search.id.not_in(passed_over), Search.query.in_(queries))
        .order_by(Search.pages, Search.id)
    )
    if in_order:
        places = {text: place for place, text in enumerate(queries)}
        row = min(session.scalars(query), key=lambda found: places[found.query], default=None)
    else:
        row = session.scalars(query.limit(1)).first()
    if row is None:
        return None
    # A page that was read to its end and is asked again: it may say that nothing has changed.
    seen = Seen(row.etag, row.last_modified) if row.pages else Seen()
    return Turn(row.id, Question(row.query, row.part, row.cursor, seen), row.cursor == row.start)


def turn_page(session: Session, finder: Finder, turn: Turn, page: Page, shown: Shown, begun_at: datetime) -> None:
    """Note that a page was read, and what it has led to. In one transaction with the offers that it showed."""
    row = session.get_one(Search, turn.id)
    row.pages += 1
    row.shown += len(page.offers)
    row.fresh += shown.fresh
    row.etag, row.last_modified = page.seen.etag, page.seen.last_modified
    row.asked_at = now()
    row.cursor = page.cursor if page.cursor is not None else row.start
    if finder.searches and turn.is_first and page.offers and not shown.goes_on:
        row.state = SearchState.DROPPED  # the rest of it would bring little: its best page brought nothing
        return
    if page.cursor is None:
        row.state = SearchState.FINISHED
    _open_more(session, finder, row, page.more, begun_at)


def _open_more(session: Session, finder: Finder, row: Search, more: Sequence[Question], begun_at: datetime) -> None:
    """Open further questions, as many as may come of one query."""
    of_query = (Search.source == finder.name) & (Search.query == row.query)
    room = len(more)
    if finder.most_questions is not None:
        room = finder.most_questions - (session.scalar(select(func.count()).select_from(Search).where(of_query)) or 0)
    wanted = {question.part: question for question in more}
    for batch in chunks(wanted):
        known = {found.part: found for found in session.scalars(select(Search).where(of_query, Search.part.in_(batch)))}
        for part in batch:
            found = known.get(part)
            if found is None and room > 0:
                session.add(_row(finder, wanted[part], row.target))
                room -= 1
            elif found is None:
                row.etag = row.last_modified = ""  # it must show its links again, should there be more room
            elif finder.searches and (found.asked_at is None or found.asked_at < begun_at):
                found.target = row.target
                if found.state is not SearchState.OPEN:
                    _restart(found)
    session.flush()
