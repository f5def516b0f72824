"""What follows from leased and ended runs: entries in the jobs' logs, ended variants and jobs, whoever waits is woken.

It is done in a transaction of its own after the one that matters, for many runs at once: under load a job's row is
written once for all runs of a moment, and no run's row is locked while a job's is. A crash in between loses the entries;
what has to be ended is found again by ``settle_stragglers``.
"""

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import exists, insert, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from edgefleet_controller.clock import Clock
from edgefleet_controller.db.database import Database, announce, now_of
from edgefleet_controller.db.tables import Job, JobEvent, Run, Variant
from edgefleet_controller.observability.metrics import CLAIM_LATENCY, RUN_DURATION
from edgefleet_controller.runs.followers import UNFINISHED, settle_variant

LOG = logging.getLogger(__name__)
MAX_NOTES = 1000
_EVENTS = insert(JobEvent.metadata.tables[JobEvent.__tablename__])
"""Past the ORM, which would look at each row."""


@dataclass(frozen=True)
class Note:
    """Something that happened to a run."""

    kind: str
    message: str
    run_id: str
    attempt: int
    job_id: str | None
    variant_id: str | None
    comparison_id: str | None
    variant_name: str | None = None
    is_end: bool = False


class _Times(NamedTuple):
    state: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Aftermath:
    """Notes that wait. ``interval_s`` 0: written before the request that made them is answered."""

    def __init__(self, database: Database, clock: Clock, interval_s: float) -> None:
        self._database, self._clock, self._interval_s = database, clock, interval_s
        self._notes: deque[Note] = deque()
        self._turn = threading.Lock()
        self._written_at_s = float("-inf")

    def add(self, notes: Sequence[Note], *, may_wait: bool = False) -> None:
        """Take notes, and write them now unless that was done a moment ago, or they may wait for the next moment.

        What they are about is committed and has to be answered as done, so a store that fails now is tried again later.
        """
        self._notes.extend(notes)
        if may_wait and self._interval_s > 0:
            return
        if self._clock.monotonic_s() - self._written_at_s < self._interval_s:
            return
        try:
            self.write()
        except SQLAlchemyError:
            LOG.exception("%d entries about runs could not be written; the sweeper tries again", len(self._notes))

    def is_due(self) -> bool:
        """Whether notes wait."""
        return bool(self._notes)

    def write(self) -> None:
        """Write what waits."""
        with self._turn:
            self._written_at_s = self._clock.monotonic_s()
            while self._notes:
                batch = [self._notes.popleft() for _ in range(min(MAX_NOTES, len(self._notes)))]
                try:
                    with self._database.writing() as session:
                        _write(session, batch)
                        times = _times_of(session, batch)
                except BaseException:
                    self._notes.extendleft(reversed(batch))
                    raise
                _observe(batch, times)

    def settle_stragglers(self) -> None:
        """End variants whose runs have all ended, though nobody ended them."""
        unfinished = exists(select(Run.id).where(Run.variant_id == Variant.id, Run.state.in_(UNFINISHED)))
        some = select(Run).where(Run.variant_id == Variant.id).order_by(Run.id).limit(1).correlate(Variant)
        with self._database.reading() as session:
            query = select(Variant.id).where(Variant.state == "dispatched", some.exists(), ~unfinished)
            variant_ids = list(session.scalars(query))
        for variant_id in variant_ids:
            with self._database.writing() as session:
                run = session.scalars(select(Run).where(Run.variant_id == variant_id).limit(1)).one()
                settle_variant(session, run)


def _write(session: Session, notes: Sequence[Note]) -> None:
    entries = [_entry(session, note) for note in notes if note.job_id is not None]
    if entries:
        session.execute(_EVENTS, entries)
    job_ids = sorted({note.job_id for note in notes if note.job_id is not None})
    if job_ids:
        raised = update(Job).where(Job.id.in_(job_ids)).values(version=Job.version + 1)
        session.execute(raised.execution_options(synchronize_session=False))
    for job_id in job_ids:
        announce(session, "job", job_id)
    for comparison_id in {note.comparison_id for note in notes if note.comparison_id is not None}:
        announce(session, "comparison", comparison_id)
    ended = {note.variant_id: note.run_id for note in notes if note.is_end and note.variant_id is not None}
    for run_id in ended.values():
        settle_variant(session, session.get_one(Run, run_id))


def _times_of(session: Session, notes: Sequence[Note]) -> dict[str, _Times]:
    query = select(Run.id, Run.state, Run.created_at, Run.started_at, Run.finished_at)
    rows = session.execute(query.where(Run.id.in_({note.run_id for note in notes})))
    return {row.id: _Times(row.state, row.created_at, row.started_at, row.finished_at) for row in rows}


def _observe(notes: Sequence[Note], times: Mapping[str, _Times]) -> None:
    """Count how long runs waited and took."""
    for note in notes:
        row = times.get(note.run_id)
        if row is None or row.started_at is None:
            continue
        if note.kind == "run_leased" and note.attempt == 1:
            CLAIM_LATENCY.observe((row.started_at - row.created_at).total_seconds())
        elif note.is_end and row.finished_at is not None:
            RUN_DURATION.labels(row.state).observe((row.finished_at - row.started_at).total_seconds())


def _entry(session: Session, note: Note) -> dict[str, Any]:
    name = note.variant_name
    return {
        "job_id": note.job_id,
        "variant_id": note.variant_id,
        "kind": note.kind,
        "message": f"{name}: {note.message}" if name is not None else note.message,
        "detail": {"run_id": note.run_id, "attempt": note.attempt},
        "created_at": now_of(session),
    }
