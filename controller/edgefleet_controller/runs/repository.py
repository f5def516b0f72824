"""The runs' SQL: the lease table. Every statement that ends or moves a run is fenced by its state and attempt."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, null, or_, select, update
from sqlalchemy.orm import Session, aliased

from edgefleet_controller.db.tables import ComparisonResult, Device, Result, Run
from edgefleet_controller.pagination import PageRequest, fetch_page

RECENT_REPORTS = 3
"""An agent may repeat the uploads of its latest reports, whose answers it did not get; older ones it has forgotten."""


def add(session: Session, row: Run | Result | ComparisonResult) -> None:
    """Insert the row now."""
    session.add(row)
    session.flush()


def find(session: Session, run_id: str) -> Run | None:
    """The run with this identifier."""
    return session.get(Run, run_id)


def find_locked(session: Session, run_id: str, device_id: str) -> Run | None:
    """The device's own run, locked until the end of the transaction; None if it is another device's."""
    query = select(Run).where(Run.id == run_id, Run.device_id == device_id).with_for_update()
    return session.scalar(query)


def find_of_variant(session: Session, variant_id: str, device_id: str, settings_ordinal: int) -> Run | None:
    """The run of a variant on a device with one of the job's settings."""
    query = select(Run).where(Run.variant_id == variant_id, Run.device_id == device_id)
    return session.scalar(query.where(Run.settings_ordinal == settings_ordinal))


def page_of_runs(
    session: Session, page: PageRequest, job_id: str | None, device_id: str | None
) -> tuple[list[Run], str | None]:
    """Runs, newest first."""
    query = select(Run)
    if job_id is not None:
        query = query.where(Run.job_id == job_id)
    if device_id is not None:
        query = query.where(Run.device_id == device_id)
    return fetch_page(session, query, Run.id, page)


def runs_of_job(session: Session, job_id: str) -> list[Run]:
    """All runs of a job, oldest first."""
    return list(session.scalars(select(Run).where(Run.job_id == job_id).order_by(Run.id)))


def may_lease(session: Session, device_id: str, now: datetime) -> bool:
    """Whether the device has a run that waits, or one whose lease ran out."""
    ran_out = and_(Run.state == "leased", Run.lease_expires_at < now)
    query = select(Run.id).where(Run.device_id == device_id, or_(Run.state == "queued", ran_out)).limit(1)
    return session.scalar(query) is not None


def devices_with_queued(session: Session) -> set[str]:
    """Devices that have something to do."""
    return set(session.scalars(select(Run.device_id).where(Run.state == "queued").distinct()))


def leased_run(session: Session, device_id: str) -> Run | None:
    """The run that the device holds."""
    return session.scalar(select(Run).where(Run.device_id == device_id, Run.state == "leased"))


def lease_next(session: Session, device_id: str, now: datetime, expires_at: datetime) -> Run | None:
    """Lease the device's next run; None if it has none, holds one already, or is not active.

    The device's row is locked first, so that two claims of one device come one after the other; on SQLite the
    transaction itself (BEGIN IMMEDIATE) does that.
    """
    locked = select(Device.id).where(Device.id == device_id, Device.state == "active").with_for_update()
    if session.scalar(locked) is None or leased_run(session, device_id) is not None:
        return None
    waiting = aliased(Run)
    following = (
        select(waiting.id)
        .where(waiting.device_id == device_id, waiting.state == "queued")
        .order_by(waiting.priority, waiting.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        update(Run)
        .where(Run.id == following, Run.state == "queued")
        .values(
            state="leased",
            attempt=Run.attempt + 1,
            phase=null(),
            lease_expires_at=expires_at,
            started_at=func.coalesce(Run.started_at, now, type_=Run.started_at.type),
        )
        .returning(Run)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return session.scalar(statement)


def extend_lease(
    session: Session, run_id: str, device_id: str, attempt: int, phase: str, expires_at: datetime
) -> Run | None:
    """Extend the lease of this very attempt; None if it has ended."""
    statement = (
        update(Run)
        .where(Run.id == run_id, Run.device_id == device_id, Run.attempt == attempt, Run.state == "leased")
        .values(lease_expires_at=expires_at, phase=phase)
        .returning(Run)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return session.scalar(statement)


def end_expired(session: Session, now: datetime, max_attempts: int, device_id: str | None = None) -> list[Run]:
    """Take back leases that ran out: queued again, cancelled if that was asked for, failed after the last attempt."""
    conditions: list[ColumnElement[bool]] = [Run.state == "leased", Run.lease_expires_at < now]
    if device_id is not None:
        conditions.append(Run.device_id == device_id)
    new_state = case(
        (Run.cancel_requested.is_(True), "cancelled"), (Run.attempt >= max_attempts, "failed"), else_="queued"
    )
    statement = (
        update(Run)
        .where(*conditions)
        .values(state=new_state, lease_expires_at=None, phase=None)
        .returning(Run)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return list(session.scalars(statement))


def has_something_to_end(session: Session, now: datetime) -> bool:
    """Whether a lease ran out, or a revoked device has queued runs."""
    expired = select(Run.id).where(Run.state == "leased", Run.lease_expires_at < now).limit(1)
    if session.scalar(expired) is not None:
        return True
    revoked = select(Run.id).join(Device, Device.id == Run.device_id)
    stranded = revoked.where(Run.state == "queued", Device.state == "revoked").limit(1)
    return session.scalar(stranded) is not None


def cancel_queued(session: Session, condition: ColumnElement[bool], now: datetime) -> list[Run]:
    """Cancel the queued runs that meet the condition."""
    statement = (
        update(Run)
        .where(Run.state == "queued", condition)
        .values(state="cancelled", finished_at=now)
        .returning(Run)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return list(session.scalars(statement))


def fail_queued_of_revoked(session: Session, error: dict[str, Any], now: datetime) -> list[Run]:
    """Fail what waits for a revoked device."""
    revoked = select(Device.id).where(Device.state == "revoked")
    statement = (
        update(Run)
        .where(Run.state == "queued", Run.device_id.in_(revoked))
        .values(state="failed", error=error, finished_at=now)
        .returning(Run)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return list(session.scalars(statement))


def ask_to_cancel(session: Session, condition: ColumnElement[bool]) -> None:
    """Ask the agents that hold runs which meet the condition to stop."""
    session.execute(
        update(Run)
        .where(Run.state == "leased", condition)
        .values(cancel_requested=True)
        .execution_options(synchronize_session="fetch")
    )


def count_in_states(session: Session, job_id: str, states: Sequence[str]) -> int:
    """How many runs of the job are in one of the states."""
    query = select(func.count()).select_from(Run).where(Run.job_id == job_id, Run.state.in_(states))
    return session.scalar(query) or 0


def find_result(session: Session, run_id: str) -> Result | None:
    """The accepted report of a run."""
    return session.get(Result, run_id)


def owns_sample(session: Session, device_id: str, sha256: str) -> bool:
    """Whether an accepted report of this device rests on the file."""
    query = select(Result.report["samples"]).join(Run, Run.id == Result.run_id).where(Run.device_id == device_id)
    latest = session.scalars(query.order_by(Result.created_at.desc()).limit(RECENT_REPORTS))
    return any(sha256 == ref["sha256"] for samples in latest for ref in (samples or {}).values())
