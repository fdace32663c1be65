"""The crawl's one way into store and database: a single thread, and what happens at the same time in one transaction.

A commit waits for the disk: written one by one, decisions would cost more than the decoding of their images. Files of
images are written by the same thread, right before their rows: from many threads it took three times the processor
time, which went into waiting for the interpreter.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from curate.crawl.claims import Work
from curate.crawl.hosts import Pace
from curate.crawl.wire import Seen, Unchanged
from curate.ingest.decide import decide
from curate.ingest.facts import Facts
from curate.ingest.intake import Outcome
from db.engine import Database
from db.models import Candidate, CandidateState, Host, Image
from db.models.base import now
from db.reasons import Reason, Refusal

P = ParamSpec("P")
T = TypeVar("T")
_MOST_AT_ONCE = 128
_GATHER_SECONDS = 0.05
_MOST_GATHERINGS = 4
"""So long, and so often as long as more come, others are waited for to be decided with: one commit serves them all."""
_ENOUGH_AT_ONCE = 16
"""What is not waited beyond. Transactions cost 0.87 ms an image where twelve share one, 0.66 where 25 do."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one claimed candidate came to."""

    work: Work
    outcome: Outcome | Unchanged
    seen: Seen
    data: bytes = b""
    """What is stored, if the outcome is an image."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was written down. No state: another crawl had taken the candidate over, or nothing has changed."""

    state: CandidateState | None
    reason: Reason | None = None
    image_id: int | None = None


Keep = Callable[[Session, Sequence[tuple[bytes, Facts]]], None]
"""Stores images, within a transaction."""
_Entry = tuple[Result, "asyncio.Future[Verdict]"]
"""What waits to be decided, and who waits for it."""


class Ledger:
    """Writes decisions down, many at a time. Use it as an async context."""

    def __init__(self, database: Database, owner: str, keep: Keep) -> None:
        self._database = database
        self._keep = keep
        self._owner = owner
        self._queue: asyncio.Queue[_Entry | None] = asyncio.Queue()
        """None is nothing to decide, but a pace to keep: a pause must outlive even a kill."""
        self._paces: dict[str, Pace] = {}
        self._paces_lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "ledger")

    async def __aenter__(self) -> Self:
        self._writer = asyncio.create_task(self._write_on())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.cancel()
        # What is being written is finished first: the thread has one job at a time.
        self._thread.shutdown(wait=True)

    def remember(self, pace: Pace) -> None:
        """Keep how a host wants to be asked."""
        with self._paces_lock:
            self._paces[pace.address] = pace
        self._queue.put_nowait(None)

    async def do(self, job: Callable[[Session], T]) -> T:
        """Do something in a transaction of its own."""
        return await self._run(self._in_transaction, job)

    async def read(self, job: Callable[[Session], T]) -> T:
        """Look something up."""
        return await self._run(self._in_view, job)

    async def decide(self, result: Result) -> Verdict:
        """Store an image, and write down what a candidate came to, together with others."""
        done: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((result, done))
        return await done

    async def _run(self, job: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(job, *arguments, **options))

    def _in_transaction(self, job: Callable[[Session], T]) -> T:
        with self._paces_lock:
            paces = dict(self._paces)
        with self._database.write() as session:
            _keep_paces(session, paces.values())
            done = job(session)
        with self._paces_lock:
            for address, pace in paces.items():
                if self._paces.get(address) is pace:  # kept now, and not changed meanwhile
                    del self._paces[address]
        return done

    def _in_view(self, job: Callable[[Session], T]) -> T:
        with self._database.read() as session:
            return job(session)

    async def _write_on(self) -> None:
        while True:
            batch = [await self._queue.get()]
            if batch[0] is not None:
                await self._gather(batch)
            self._take_waiting(batch)
            taken = [entry for entry in batch if entry is not None]
            await self._write([result for result, _ in taken], [done for _, done in taken])

    async def _gather(self, batch: "list[_Entry | None]") -> None:
        """Let others join those that are to be decided, while they keep coming and there are not enough."""
        for _ in range(_MOST_GATHERINGS):
            before = len(batch)
            await asyncio.sleep(_GATHER_SECONDS)
            self._take_waiting(batch)
            if len(batch) == before or len(batch) >= _ENOUGH_AT_ONCE:
                break

    def _take_waiting(self, batch: "list[_Entry | None]") -> None:
        while len(batch) < _MOST_AT_ONCE and not self._queue.empty():
            batch.append(self._queue.get_nowait())

    async def _write(self, results: Sequence[Result], waiting: Sequence["asyncio.Future[Verdict]"]) -> None:
        try:
            verdicts = await self._run(self._settle, results)
        except Exception as error:  # noqa: BLE001 - whoever waits is told, whatever it is
            for done in waiting:
                if not done.done():
                    done.set_exception(error)
            return
        for done, verdict in zip(waiting, verdicts, strict=True):
            if not done.done():
                done.set_result(verdict)

    def _settle(self, results: Sequence[Result]) -> list[Verdict]:
        """Store what is to be stored, then write all of it down: never a row without a file.

        What is no longer ours is left alone: another crawl has it, or this one was stopped and has let go of it.
        """

        def settle(session: Session) -> list[Verdict]:
            mine = _held(session, results, self._owner)
            self._keep(session, [(one.data, one.outcome) for _, one in mine if isinstance(one.outcome, Facts)])
            verdicts = _record(session, mine)
            return [verdicts.get(result.work.id, Verdict(None)) for result in results]

        return self._in_transaction(settle)


def _held(session: Session, results: Sequence[Result], owner: str) -> list[tuple[Candidate, Result]]:
    """Of these, the ones whose candidates are still claimed by `owner`."""
    latest = {result.work.id: result for result in results}
    rows = {row.id: row for row in session.scalars(select(Candidate).where(Candidate.id.in_(latest)))}
    return [(rows[number], result) for number, result in latest.items() if rows[number].owner == owner]


def _record(session: Session, mine: Sequence[tuple[Candidate, Result]]) -> dict[int, Verdict]:
    """Write down what became of claimed candidates."""
    verdicts: dict[int, Verdict] = {}
    decided = []
    for row, result in mine:
        if row.image_id is None or not isinstance(result.outcome, Refusal):  # else of a version that is not here
            row.etag, row.last_modified = result.seen.etag, result.seen.last_modified
        if isinstance(result.outcome, Unchanged) or _stands(session, row, result.outcome):
            _put_back(session, row)
            refusal = result.outcome if isinstance(result.outcome, Refusal) else None
            verdicts[row.id] = Verdict(CandidateState.FAILED, refusal.reason) if refusal else Verdict(None)
        else:
            decided.append((row, result.outcome))
    for (row, _), state in zip(decided, decide(session, decided), strict=True):
        verdicts[row.id] = Verdict(state, row.reason, row.image_id)
    return verdicts


def _stands(session: Session, row: Candidate, outcome: Outcome) -> bool:
    """Whether a candidate that was asked for again stays as it was: the bytes are the same, or could not be had."""
    if row.image_id is None:
        return False
    if isinstance(outcome, Refusal):
        return outcome.reason is not Reason.FORGOTTEN
    return session.get_one(Image, row.image_id).sha256 == outcome.sha256


def _put_back(session: Session, row: Candidate) -> None:
    """Let a candidate that was asked for again stand as it did: the first of an image stores it, others are copies."""
    first = select(Candidate.id).where(Candidate.image_id == row.image_id, Candidate.state == CandidateState.STORED)
    there = session.scalars(first.where(Candidate.id != row.id).limit(1)).first()
    row.state = CandidateState.STORED if there is None else CandidateState.DUPLICATE
    row.owner = row.lease_until = None


def _keep_paces(session: Session, paces: Iterable[Pace]) -> None:
    for pace in paces:
        values = {"resume_at": pace.resume_at, "interval": pace.interval, "updated_at": now()}
        session.merge(Host(address=pace.address, **values))


def known_paces(session: Session) -> list[Pace]:
    """What earlier runs found of hosts."""
    return [Pace(host.address, host.resume_at, host.interval) for host in session.scalars(select(Host))]
