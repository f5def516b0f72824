"""Heartbeats: answered from memory while that is safe, stored in batches.

A controller that is killed loses at most the extensions since the last batch. The end of a lease in the store is then
earlier than the agent was told, never later: the run may be handed out again too soon, and the first agent's report is
refused by its attempt. An extension over a long silent window is stored at once.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, update

from edgefleet_agent.wire.messages import HeartbeatRequest, HeartbeatResponse
from edgefleet_controller.db.database import Database
from edgefleet_controller.db.tables import Run
from edgefleet_controller.dispatch.lease_book import Lease, LeaseBook
from edgefleet_controller.runs import repository
from edgefleet_controller.runs.errors import StaleAttempt
from edgefleet_controller.runs.rules import LeaseRules

MAX_ATTEMPT = 2**31 - 1
"""What the column holds; no attempt is ever that high."""

MAX_BATCH = 1000
_RUN, _ATTEMPT, _END, _PHASE = "b_run", "b_attempt", "b_end", "b_phase"
STORE_END = (
    update(Run)
    .where(Run.id == bindparam(_RUN), Run.attempt == bindparam(_ATTEMPT), Run.state == "leased")
    .values(lease_expires_at=bindparam(_END), phase=bindparam(_PHASE))
    .execution_options(synchronize_session=False)
)


class Heartbeats:
    """Extends leases."""

    def __init__(self, database: Database, book: LeaseBook, rules: LeaseRules, flush_s: float) -> None:
        self._database, self._book, self._rules = database, book, rules
        self._margin = timedelta(seconds=min(3 * flush_s, rules.lease_s / 3))

    def answer_from_memory(self, device_id: str, request: HeartbeatRequest) -> HeartbeatResponse | None:
        """The answer, if the lease is known for certain; None: ask ``answer_from_store``."""
        lease_s, now = self._rules.length_s(request.silent_for_s), self._database.clock.now()
        lease = self._book.extend(request.run_id, request.attempt, device_id, request.phase, lease_s, now, self._margin)
        if lease is None or (lease_s > self._rules.lease_s and lease.stored_until < lease.until - self._slack()):
            return None
        return HeartbeatResponse.model_construct(cancel=lease.is_cancelled, lease_s=lease_s)

    def _slack(self) -> timedelta:
        return timedelta(seconds=self._rules.lease_s / 2)

    def answer_from_store(self, device_id: str, request: HeartbeatRequest) -> HeartbeatResponse:
        """Extend in the store; StaleAttempt if the attempt has ended."""
        if request.attempt > MAX_ATTEMPT:
            raise StaleAttempt
        lease_s = self._rules.length_s(request.silent_for_s)
        until = self._database.clock.now() + timedelta(seconds=lease_s)
        with self._database.writing() as session:
            run = repository.extend_lease(session, request.run_id, device_id, request.attempt, request.phase, until)
            if run is None:
                raise StaleAttempt
            lease = Lease(run.id, run.attempt, device_id, until, until, run.phase, run.cancel_requested)
            lease.leased_to = run.leased_to
        self._book.put(lease)
        return HeartbeatResponse(cancel=lease.is_cancelled, lease_s=lease_s)

    def is_due(self) -> bool:
        """Whether the store lacks an extension."""
        return bool(self._book.unsaved())

    def flush(self) -> None:
        """Store what memory extended; a lease that somebody else has ended or holds locked is left out."""
        unsaved = self._book.unsaved()
        for start in range(0, len(unsaved), MAX_BATCH):
            self._store(unsaved[start : start + MAX_BATCH])

    def _store(self, unsaved: Sequence[tuple[str, int, datetime, str | None]]) -> None:
        by_run = {run_id: (attempt, until, phase) for run_id, attempt, until, phase in unsaved}
        query = select(Run.id, Run.attempt, Run.state, Run.cancel_requested).where(Run.id.in_(by_run)).order_by(Run.id)
        with self._database.transaction() as connection:
            # a row locked by a report or a cancel is skipped: waiting for it while holding others could deadlock
            rows = {row.id: row for row in connection.execute(query.with_for_update(skip_locked=True))}
            alive: list[dict[str, Any]] = [
                {_RUN: run_id, _ATTEMPT: attempt, _END: until, _PHASE: phase}
                for run_id, (attempt, until, phase) in by_run.items()
                if run_id in rows and (rows[run_id].attempt, rows[run_id].state) == (attempt, "leased")
            ]
            if alive:
                connection.execute(STORE_END, alive)
        for one in alive:
            flags = rows[str(one[_RUN])]
            self._book.saved(flags.id, flags.attempt, one[_END], is_cancelled=flags.cancel_requested)
        kept = {one[_RUN] for one in alive}
        for run_id in rows.keys() - kept:
            self._book.end(run_id)
        self._forget_deleted(set(by_run) - set(rows))

    def _forget_deleted(self, run_ids: set[str]) -> None:
        if not run_ids:
            return
        with self._database.reading() as session:
            there = set(session.scalars(select(Run.id).where(Run.id.in_(run_ids))))
        for run_id in run_ids - there:
            self._book.end(run_id)
