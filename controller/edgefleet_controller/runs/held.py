"""Runs as a report finds them: plain values, read and written past the ORM, whose objects cost more than all the rest."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Run, Variant

JsonObject = dict[str, Any]
_COLUMNS = (
    Run.id,
    Run.job_id,
    Run.variant_id,
    Run.comparison_id,
    Run.device_id,
    Run.requirement_sha256,
    Run.artifact_sha256,
    Run.order,
    Run.state,
    Run.attempt,
    Run.cancel_requested,
    Run.error,
)


@dataclass(slots=True)
class HeldRun:
    """A locked run. ``end`` changes it here; ``write_ends`` writes that into the store."""

    id: str
    job_id: str | None
    variant_id: str | None
    comparison_id: str | None
    device_id: str | None
    requirement_sha256: str | None
    artifact_sha256: str | None
    order: JsonObject
    state: str
    attempt: int
    cancel_requested: bool
    error: JsonObject | None
    variant_name: str | None = None
    finished_at: datetime | None = None

    def end(self, state: str, at: datetime, error: JsonObject | None = None) -> None:
        """Put it into an end state."""
        self.state, self.finished_at = state, at
        self.error = error if error is not None else self.error


def read_locked(session: Session, run_ids: Set[str]) -> dict[str, HeldRun]:
    """The runs by identifier, locked until the transaction ends, with the names of their variants."""
    query = select(*_COLUMNS, Variant.name).outerjoin(Variant, Variant.id == Run.variant_id)
    locked = query.where(Run.id.in_(run_ids)).order_by(Run.id).with_for_update(of=Run)
    rows: Sequence[Any] = session.execute(locked).all()
    return {row.id: HeldRun(*row) for row in rows}


def write_ends(session: Session, runs: Iterable[HeldRun]) -> None:
    """Write what ``end`` changed, for many runs by one statement or two."""
    ended = [run for run in runs if run.finished_at is not None]
    plain = [_end_of(run) for run in ended if run.error is None]
    with_error = [_end_of(run) | {"error": run.error} for run in ended if run.error is not None]
    for changes in filter(None, (plain, with_error)):
        session.execute(update(Run), changes)


def _end_of(run: HeldRun) -> JsonObject:
    return {"id": run.id, "state": run.state, "finished_at": run.finished_at, "lease_expires_at": None}
