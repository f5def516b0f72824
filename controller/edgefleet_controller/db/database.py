"""The store's connection: SQLite (WAL, BEGIN IMMEDIATE for writers) or PostgreSQL (psycopg), one code path."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select, text
from sqlalchemy.orm import Session

from edgefleet_controller.audit.recording import append_entries, note_changes
from edgefleet_controller.auth.caller import acting_as
from edgefleet_controller.clock import Clock, SystemClock
from edgefleet_controller.db.scoping import limit_to_caller

BUSY_TIMEOUT_MS = 30_000

Topic = Literal[
    "device",
    "device_changed",
    "requirement",
    "lease",
    "job",
    "comparison",
    "study",
    "job_created",
    "job_cancelled",
    "regression",
]


class Change(NamedTuple):
    """Something others may wait for: ``device`` has work, ``job``, ``comparison`` or ``study`` changed, a job was made or cancelled."""

    topic: Topic
    key: str


Listener = Callable[[Change], None]

CHANNEL = "edgefleet"
"""PostgreSQL's NOTIFY channel on which processes tell each other what they committed."""

NEWS_TOPICS: tuple[Topic, ...] = ("device", "device_changed", "requirement", "lease", "comparison")
"""What other processes are told at once; of the rest a scan finds what somebody waits for."""

MAX_PAYLOAD = 7000
"""Characters of one notification; PostgreSQL takes less than 8,000 bytes."""


def encode_news(process: str, changes: Sequence[Change]) -> list[str]:
    """Notifications that name these changes; none if others need not know."""
    payloads, lines = [], [process]
    for change in (change for change in changes if change.topic in NEWS_TOPICS):
        line = f"{change.topic} {change.key}"
        if sum(map(len, lines)) + len(lines) + len(line) > MAX_PAYLOAD:
            payloads.append("\n".join(lines))
            lines = [process]
        lines.append(line)
    return [*payloads, "\n".join(lines)] if len(lines) > 1 else payloads


def decode_news(payload: str) -> tuple[str, list[Change]]:
    """The process that sent a notification, and what it says; lines of a newer version are left out."""
    process, *lines = payload.split("\n")
    pairs = (line.partition(" ") for line in lines)
    return process, [Change(topic, key) for topic, _, key in pairs if topic in NEWS_TOPICS]


def create_database_engine(url: str) -> Engine:
    """An engine for ``sqlite:///...`` or ``postgresql://...``; the folder of an SQLite file is made."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed, pool_size=20, max_overflow=40, hide_parameters=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return create_engine(parsed, pool_size=20, max_overflow=40, pool_pre_ping=True, hide_parameters=True)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # the driver's own implicit BEGIN is deferred and would fail with "locked" when a reader turns writer
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    is_reader = connection.get_execution_options().get("edgefleet_reader", False)
    connection.exec_driver_sql("BEGIN" if is_reader else "BEGIN IMMEDIATE")


class _ScopedSession(Session):
    """Sees what the caller of the present request may see (``db.scoping``), and writes down what changes (``audit``)."""


event.listen(_ScopedSession, "do_orm_execute", limit_to_caller)
event.listen(_ScopedSession, "before_flush", note_changes)


class Database:
    """Hands out sessions; a writing one commits once, when its block ends without an exception."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self.engine = engine
        self.clock = clock or SystemClock()
        self._readers = engine.execution_options(edgefleet_reader=True)
        self.process = secrets.token_hex(8)
        """names this process in what it tells others"""
        self._listeners: list[Listener] = []

    @classmethod
    def from_url(cls, url: str, clock: Clock | None = None) -> "Database":
        """The store at this SQLAlchemy URL."""
        return cls(create_database_engine(url), clock)

    def subscribe(self, listener: Listener) -> None:
        """Call back, in this process, for every change that a writing session announced and committed."""
        self._listeners.append(listener)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that never commits; on SQLite it does not wait for writers."""
        with _ScopedSession(self._readers, autoflush=False, info={"clock": self.clock}) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that commits at the end of the block and then tells the listeners what changed."""
        with _ScopedSession(self.engine, expire_on_commit=False, info={"clock": self.clock, "changes": {}}) as session:
            yield session
            append_entries(session)
            session.flush()  # changed rows announce themselves, see dispatch.changes
            for payload in self._encode(list(session.info["changes"])):
                session.execute(select(func.pg_notify(CHANNEL, payload)))
            session.commit()
            changes: dict[Change, None] = session.info["changes"]
        self.publish(list(changes))

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A writing transaction without a session, for the few statements that every device causes all the time."""
        with self.engine.begin() as connection:
            yield connection

    def publish(self, changes: Sequence[Change]) -> None:
        """Tell the listeners of this process what was committed."""
        with acting_as(None):  # what follows from the change is no longer the caller's doing
            for change in changes:
                for listener in self._listeners:
                    listener(change)

    def _encode(self, changes: Sequence[Change]) -> list[str]:
        return encode_news(self.process, changes) if self.engine.dialect.name == "postgresql" else []

    def ping(self) -> None:
        """Raise if the store cannot be reached."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def now_of(session: Session) -> datetime:
    """The present instant by the clock of the session's database."""
    clock: Clock = session.info.get("clock") or SystemClock()
    return clock.now()


def announce(session: Session, topic: Topic, key: str) -> None:
    """Tell the listeners after the commit; nobody hears of it if the session rolls back."""
    session.info.setdefault("changes", {})[Change(topic, key)] = None
