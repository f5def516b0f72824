"""The log of a job; every entry raises the job's version, which wakes whoever waits for a change."""

from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from edgefleet_controller.db.database import announce, now_of
from edgefleet_controller.db.tables import Job, JobEvent


def record_event(
    session: Session, job_id: str, kind: str, message: str, variant_id: str | None = None, **detail: Any
) -> None:
    """Add an entry to the job's log."""
    entry = JobEvent(
        job_id=job_id, variant_id=variant_id, kind=kind, message=message, detail=detail, created_at=now_of(session)
    )
    session.add(entry)
    mark_changed(session, job_id)


def mark_changed(session: Session, job_id: str) -> None:
    """Raise the job's version and wake whoever waits for it."""
    session.flush()
    session.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(version=Job.version + 1)
        .execution_options(synchronize_session="fetch")
    )
    announce(session, "job", job_id)
