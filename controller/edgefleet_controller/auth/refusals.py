"""How often an address may fail to sign in or to enrol, and how often a name may be tried: counted for all API processes."""

import hashlib
import math
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import case, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from edgefleet_controller.db.database import Database
from edgefleet_controller.db.database_clock import database_now
from edgefleet_controller.db.tables import RefusalBucket
from edgefleet_controller.errors import TooManyRequests

MINUTE_S = 60.0
ROUNDING_S = 1e-3
"""Of additions of instants and steps."""


class RefusalLimit:
    """A bucket for each address and name: ``per_min`` refusals at once, and as many a minute in the long run.

    The buckets lie in the store, so that guessing at several API processes is no faster than at one.
    """

    def __init__(self, database: Database, per_min: float) -> None:
        self._database = database
        self._step_s = MINUTE_S / per_min

    def require(self, *keys: str) -> None:
        """TooManyRequests where one of the buckets is empty; takes nothing."""
        with self._database.reading() as session:
            query = select(RefusalBucket.full_at_s).where(RefusalBucket.key_sha256.in_(_hashes(keys)))
            full_at_s = max(session.scalars(query), default=0.0)
            wait_s = full_at_s - _seconds(database_now(session)) - (MINUTE_S - self._step_s)
        if wait_s > ROUNDING_S:
            raise TooManyRequests(retry_after_s=math.ceil(wait_s))

    def charge(self, *keys: str) -> None:
        """Take from each bucket for a refusal that has happened; a bucket may be empty."""
        with self._database.writing() as session:
            now_s = _seconds(database_now(session))
            session.execute(delete(RefusalBucket).where(RefusalBucket.full_at_s < now_s))
            for key in sorted(_hashes(keys)):  # in one order, so that two processes do not wait for each other
                self._take(session, key, now_s)

    def _take(self, session: Session, key: str, now_s: float) -> None:
        """One statement, so that refusals at several processes at once are all counted."""
        insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
        before, step_s = RefusalBucket.full_at_s, self._step_s
        after = case(
            (before <= now_s, now_s + step_s),
            (before + step_s > now_s + MINUTE_S, now_s + MINUTE_S),
            else_=before + step_s,
        )
        statement = insert(RefusalBucket).values(key_sha256=key, full_at_s=now_s + step_s)
        session.execute(statement.on_conflict_do_update(index_elements=["key_sha256"], set_={"full_at_s": after}))


def _hashes(keys: Sequence[str]) -> list[str]:
    return [hashlib.sha256(key.encode()).hexdigest() for key in keys]


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
