"""The engine, and the only two ways into the database: `read()` and `write()`."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from db.errors import DatabaseError, StoreError
from db.faults import fault

BUSY_SECONDS = 60
"""How long a writer waits for another one. Transactions here last milliseconds, so this is never reached in health."""


class Database:
    """One SQLite file: foreign keys on, write-ahead log, every writing transaction begun as BEGIN IMMEDIATE.

    A plain BEGIN takes the write lock only at the first write; two processes that read and then write then fail
    with "database is locked" in spite of any timeout (measured: 159 of 300, with BEGIN IMMEDIATE 0).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = make_engine(path)
        self._writer = self.engine.execution_options(begin="IMMEDIATE")

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A consistent view; nothing is written, and no writer is kept waiting."""
        with told_plainly(self.path), Session(self.engine, autoflush=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that is committed at the end, or leaves nothing behind."""
        with told_plainly(self.path), Session(self._writer, expire_on_commit=False) as session:
            yield session
            session.flush()
            fault("commit.before")
            session.commit()
            fault("commit.after")

    def close(self) -> None:
        """Let go of the file."""
        self.engine.dispose()


def make_engine(path: Path, *, foreign_keys: bool = True) -> Engine:
    """Make an engine whose transactions are SQLAlchemy's to begin, not the driver's.

    The driver's own mode commits before DDL, and so leaves half of a failed migration behind.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"isolation_level": None, "timeout": BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: Any) -> None:  # noqa: ANN401 - SQLAlchemy's private record
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        connection.execute("PRAGMA journal_mode = WAL")
        # In WAL mode NORMAL never corrupts, but may lose the last commits in a power cut: labels are worth a sync.
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', '')}")

    return engine


@contextmanager
def told_plainly(path: Path) -> Iterator[None]:
    """Turn what the driver raises for a bad or full disk into one line that says what to do."""
    try:
        yield
    except (exc.DatabaseError, sqlite3.DatabaseError) as error:
        told = plain(path, str(getattr(error, "orig", error)))
        if told is None:
            raise
        raise told from error


def plain(path: Path, words: str) -> DatabaseError | StoreError | None:
    """Say what the driver's words mean for the user; None where that is nobody's fault but ours."""
    if "disk is full" in words or "disk I/O error" in words:
        return StoreError(f"cannot write {path}: {words}. Make room there, then run it again.")
    if "readonly database" in words or "unable to open" in words:
        return StoreError(f"cannot write {path}: {words}. Check the permissions of the file and of its folder.")
    if "malformed" in words or "not a database" in words:
        return DatabaseError(f"{path} is damaged ({words}). `curate db restore` puts back the newest copy there is.")
    if "is locked" in words:
        return DatabaseError(f"{path} was locked by another program for {BUSY_SECONDS} s. Close it, then run it again.")
    return None
