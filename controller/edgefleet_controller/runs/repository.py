"""The runs' SQL: the lease table. Every statement that ends or moves a run is fenced by its state and attempt."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, null, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from edgefleet_controller.db.database import announce
from edgefleet_controller.db.tables import ComparisonResult, Device, Result, Run
from edgefleet_controller.db.tables import Requirement as RequirementRow
from edgefleet_controller.dispatch.requirements import Requirement
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


def find_of_slot(session: Session, variant_id: str, settings_ordinal: int, slot: int) -> Run | None:
    """The variant's run without a device of its own, by its number."""
    query = select(Run).where(Run.variant_id == variant_id, Run.settings_ordinal == settings_ordinal, Run.slot == slot)
    return session.scalar(query)


def ensure_requirement(session: Session, requirement: Requirement, now: datetime) -> str:
    """Store the requirement unless it is there; returns its hash."""
    sha256 = requirement.sha256
    if session.get(RequirementRow, sha256) is None:
        row = RequirementRow(sha256=sha256, document=requirement.document, created_at=now)
        try:
            with session.begin_nested():
                session.add(row)
        except IntegrityError:  # another process stored the same one at this moment
            session.expire_all()
    return sha256


def find_requirement(session: Session, sha256: str) -> Requirement | None:
    """The requirement with this hash."""
    row = session.get(RequirementRow, sha256)
    return Requirement.model_validate(row.document) if row is not None else None


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


def devices_with_queued(session: Session) -> set[str]:
    """Devices that queued runs name."""
    query = select(Run.device_id).where(Run.state == "queued", Run.device_id.is_not(None)).distinct()
    return {device_id for device_id in session.scalars(query) if device_id is not None}


def open_requirements(session: Session) -> dict[str, Requirement]:
    """Requirements of queued runs that no device took yet, by hash."""
    open_runs = select(Run.requirement_sha256).where(Run.state == "queued", Run.device_id.is_(None)).distinct()
    rows = session.scalars(select(RequirementRow).where(RequirementRow.sha256.in_(open_runs)))
    return {row.sha256: Requirement.model_validate(row.document) for row in rows}


def leases(session: Session) -> list[Run]:
    """Runs that devices hold."""
    return list(session.scalars(select(Run).where(Run.state == "leased")))


def cancelled_leases(session: Session) -> set[str]:
    """Held runs whose agents are to stop."""
    return set(session.scalars(select(Run.id).where(Run.state == "leased", Run.cancel_requested.is_(True))))


def leased_run(session: Session, device_id: str) -> Run | None:
    """The run that the device holds."""
    return session.scalar(select(Run).where(Run.device_id == device_id, Run.state == "leased"))


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


def extend_lease_of(session: Session, run_id: str, device_id: str, expires_at: datetime) -> Run | None:
    """Extend whatever attempt of the run the device holds; None if it holds it no more."""
    statement = (
        update(Run)
        .where(Run.id == run_id, Run.device_id == device_id, Run.state == "leased")
        .values(lease_expires_at=expires_at)
        .returning(Run)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return session.scalar(statement)


def end_expired(session: Session, now: datetime, max_attempts: int, device_id: str | None = None) -> list[Run]:
    """Take back leases that ran out: queued again, cancelled if that was asked for, failed after the last attempt."""
    conditions: list[ColumnElement[bool]] = [Run.state == "leased", Run.lease_expires_at < now]
    if device_id is not None:
        conditions.append(Run.device_id == device_id)
    return _end_leases(session, conditions, max_attempts)


def end_lease(session: Session, run_id: str, attempt: int, max_attempts: int) -> Run | None:
    """The same for one attempt, whatever is left of its lease; None if it has ended."""
    conditions = [Run.id == run_id, Run.attempt == attempt, Run.state == "leased"]
    return next(iter(_end_leases(session, conditions, max_attempts)), None)


def _end_leases(session: Session, conditions: Sequence[ColumnElement[bool]], max_attempts: int) -> list[Run]:
    any_again = and_(Run.requirement_sha256.is_not(None), Run.cancel_requested.is_(False), Run.attempt < max_attempts)
    kept_device = case((any_again, null()), else_=Run.device_id)  # a run that any device may take waits for any again
    new_state = case(
        (Run.cancel_requested.is_(True), "cancelled"), (Run.attempt >= max_attempts, "failed"), else_="queued"
    )
    statement = (
        update(Run)
        .where(*conditions)
        .values(state=new_state, lease_expires_at=None, phase=None, leased_to=None, device_id=kept_device)
        .returning(Run)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return list(session.scalars(statement))


def next_end_of_lease(session: Session) -> datetime | None:
    """When the first of the present leases runs out."""
    query = select(Run.lease_expires_at).where(Run.state == "leased", Run.lease_expires_at.is_not(None))
    return session.scalar(query.order_by(Run.lease_expires_at).limit(1))


def has_stranded(session: Session) -> bool:
    """Whether a revoked device has queued runs."""
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
    statement = (
        update(Run)
        .where(Run.state == "leased", condition)
        .values(cancel_requested=True)
        .returning(Run)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    for run in session.scalars(statement):
        announce(session, "lease", run.id)


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
