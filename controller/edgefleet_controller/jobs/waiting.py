"""Jobs that wait for others, and jobs whose time is up."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from edgefleet_controller.db.database import announce
from edgefleet_controller.db.tables import Job, JobDependency
from edgefleet_controller.jobs import repository
from edgefleet_controller.jobs.closing import finish, stop_job
from edgefleet_controller.jobs.errors import JobNeverComes, UnknownJobNamed
from edgefleet_controller.jobs.events import record_event


def wait_for(session: Session, job: Job, after: Sequence[str]) -> None:
    """Let the new job wait for others. They exist already, so no cycle can come about.

    UnknownJobNamed for one that does not exist, JobNeverComes for one that has failed or was cancelled.
    """
    wanted = list(dict.fromkeys(after))
    found = {other.id: other for other in session.scalars(select(Job).where(Job.id.in_(wanted)))}
    missing = [job_id for job_id in wanted if job_id not in found]
    if missing:
        raise UnknownJobNamed(f"There is no job {missing[0]!r} to wait for; list them with `edgefleet job ls`.")
    for other in found.values():
        if other.state in ("failed", "cancelled", "cancelling"):
            raise JobNeverComes(f"The job {other.id} to wait for is {other.state}; this one would never begin.")
    session.add_all(JobDependency(job_id=job.id, after_id=job_id) for job_id in wanted)
    session.flush()
    if any(other.state != "completed" for other in found.values()):
        job.state, job.message = "waiting", f"waits for {', '.join(wanted)}"


def dependencies_of(session: Session, job_id: str) -> list[str]:
    """The jobs that this one begins after."""
    query = select(JobDependency.after_id).where(JobDependency.job_id == job_id)
    return list(session.scalars(query.order_by(JobDependency.after_id)))


def find_waiting(session: Session) -> Sequence[str]:
    """Jobs that wait for others."""
    return session.scalars(select(Job.id).where(Job.state == "waiting").order_by(Job.id)).all()


def release(session: Session, job_id: str) -> None:
    """Queue a waiting job once all that it waits for has completed; fail it once one of them never will."""
    job = repository.find_locked(session, job_id)
    if job is None or job.state != "waiting":
        return
    query = select(Job.id, Job.state).join(JobDependency, JobDependency.after_id == Job.id)
    others = session.execute(query.where(JobDependency.job_id == job_id).order_by(Job.id)).all()
    lost = [other for other in others if other.state in ("failed", "cancelled")]
    if lost:
        message = f"The job waited for {lost[0].id}, which {_became(lost[0].state)}; it was not begun."
        job.error = {"code": "dependency_failed", "message": message, "detail": {"after": [row.id for row in lost]}}
        repository.cancel_variants(session, job_id)
        finish(session, job, "failed")
        record_event(session, job_id, "failed", message, error=job.error)
    elif all(other.state == "completed" for other in others):
        job.state, job.message = "queued", "waits for a worker"
        record_event(session, job_id, "released", "all jobs that it waited for have completed")
        announce(session, "job_created", job_id)


def _became(state: str) -> str:
    return "was cancelled" if state == "cancelled" else "failed"


def find_overdue(session: Session, now: datetime) -> Sequence[str]:
    """Jobs that have not ended by their deadline."""
    return session.scalars(select(Job.id).where(_is_open(), Job.deadline_at <= now)).all()


def next_deadline(session: Session) -> datetime | None:
    """The first deadline of a job that has not ended."""
    query = select(Job.deadline_at).where(_is_open(), Job.deadline_at.is_not(None))
    return session.scalar(query.order_by(Job.deadline_at).limit(1))


def _is_open() -> ColumnElement[bool]:
    return Job.state.in_(("waiting", "queued", "running"))


def end_overdue(session: Session, job_id: str) -> None:
    """Stop a job whose deadline is over; what was measured stays."""
    job = repository.find_locked(session, job_id)
    if job is None or job.deadline_at is None:
        return
    stamp = job.deadline_at.isoformat().replace("+00:00", "Z")
    message = f"The deadline {stamp} passed before the job was done; what was measured by then stays."
    stop_job(session, job, {"code": "deadline_exceeded", "message": message, "detail": {"deadline": stamp}})
