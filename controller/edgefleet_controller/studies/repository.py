"""The studies' SQL."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Job, Run, Study, StudyEvent, Trial
from edgefleet_controller.jobs.repository import ENDED as JOB_ENDED
from edgefleet_controller.pagination import PageRequest, fetch_page
from edgefleet_controller.studies.turns import OPEN

ENDED = ("cancelled", "completed", "failed")


def find(session: Session, study_id: str) -> Study | None:
    """The study with this identifier."""
    return session.get(Study, study_id)


def find_locked(session: Session, study_id: str) -> Study | None:
    """The study, locked until the end of the transaction."""
    query = select(Study).where(Study.id == study_id).with_for_update().execution_options(populate_existing=True)
    return session.scalar(query)


def page_of_studies(session: Session, page: PageRequest) -> tuple[list[Study], str | None]:
    """Studies, newest first."""
    return fetch_page(session, select(Study), Study.id, page)


def last_completed(session: Session, limit: int) -> Sequence[Study]:
    """The newest completed studies."""
    query = select(Study).where(Study.state == "completed").order_by(Study.id.desc())
    return session.scalars(query.limit(limit)).all()


def trials_of(session: Session, study_id: str) -> list[Trial]:
    """All trials of the study in their order."""
    return list(session.scalars(select(Trial).where(Trial.study_id == study_id).order_by(Trial.number)))


def trials_after(session: Session, study_id: str, after: int, limit: int) -> list[Trial]:
    """Trials with a number above this one, in their order."""
    query = select(Trial).where(Trial.study_id == study_id, Trial.number > after)
    return list(session.scalars(query.order_by(Trial.number).limit(limit)))


def count_trials(session: Session, study_ids: Collection[str]) -> dict[str, dict[str, int]]:
    """Study -> state -> number of its trials."""
    query = select(Trial.study_id, Trial.state, func.count()).where(Trial.study_id.in_(study_ids))
    counts: dict[str, dict[str, int]] = {study_id: {} for study_id in study_ids}
    for study_id, state, number in session.execute(query.group_by(Trial.study_id, Trial.state)):
        counts[study_id][state] = number
    return counts


def jobs_of(session: Session, study_id: str) -> list[Job]:
    """All jobs of the study, oldest first."""
    return list(session.scalars(select(Job).where(Job.study_id == study_id).order_by(Job.id)))


def open_jobs(session: Session, study_id: str) -> Sequence[str]:
    """Jobs of the study that have not ended."""
    query = select(Job.id).where(Job.study_id == study_id, Job.state.not_in(JOB_ENDED))
    return session.scalars(query.order_by(Job.id)).all()


def queued_jobs(session: Session, study_id: str) -> Sequence[str]:
    """Jobs of the study that nobody has begun."""
    query = select(Job.id).where(Job.study_id == study_id, Job.state == "queued")
    return session.scalars(query.order_by(Job.id)).all()


def events_after(session: Session, study_id: str, after: int, limit: int) -> list[StudyEvent]:
    """The study's log from a number on, oldest first."""
    query = select(StudyEvent).where(StudyEvent.study_id == study_id, StudyEvent.id > after)
    return list(session.scalars(query.order_by(StudyEvent.id).limit(limit)))


def last_events(session: Session, study_id: str, limit: int) -> list[StudyEvent]:
    """The newest lines of the study's log, oldest first."""
    query = select(StudyEvent).where(StudyEvent.study_id == study_id)
    return list(reversed(session.scalars(query.order_by(StudyEvent.id.desc()).limit(limit)).all()))


def versions(session: Session, study_ids: Collection[str]) -> dict[str, int]:
    """Present versions of these studies."""
    rows = session.execute(select(Study.id, Study.version).where(Study.id.in_(study_ids)))
    return {row.id: row.version for row in rows}


def due_turns(session: Session) -> dict[str, int]:
    """Open studies with a turn that nobody has taken, and which one."""
    query = select(Study.id, Study.turn).where(Study.state.in_(OPEN), Study.turn > Study.turn_taken)
    return {row.id: row.turn for row in session.execute(query.order_by(Study.id))}


def due_turn_of(session: Session, study_id: str) -> int | None:
    """The same of one study; None where none is due."""
    query = select(Study.turn).where(Study.id == study_id, Study.state.in_(OPEN), Study.turn > Study.turn_taken)
    return session.scalar(query)


def find_due(session: Session, now: datetime) -> Sequence[str]:
    """Open studies that are to be looked at by now, though nothing happened."""
    return session.scalars(select(Study.id).where(_is_timed_out(now)).order_by(Study.id)).all()


def next_look(session: Session) -> datetime | None:
    """When the first open study is to be looked at."""
    moments = [
        session.scalar(select(func.min(column)).where(Study.state.in_(OPEN)))
        for column in (Study.look_at, Study.deadline_at)
    ]
    return min((moment for moment in moments if moment is not None), default=None)


def _is_timed_out(now: datetime) -> ColumnElement[bool]:
    return Study.state.in_(OPEN) & or_(Study.look_at <= now, Study.deadline_at <= now)


def find_with_jobs(session: Session) -> Sequence[str]:
    """Open studies that wait for their jobs."""
    has_job = select(Job.id).where(Job.study_id == Study.id, Job.state.not_in(JOB_ENDED)).exists()
    query = select(Study.id).where(Study.state.in_(("running", "checking", "waiting")), has_job)
    return session.scalars(query.order_by(Study.id)).all()


def has_leased_run(session: Session, study_id: str) -> bool:
    """Whether a board works on one of the study's runs now; it may be silent while it measures."""
    query = select(Run.id).join(Job, Job.id == Run.job_id).where(Job.study_id == study_id, Run.state == "leased")
    return session.scalar(query.limit(1)) is not None


def find_cancelling(session: Session) -> Sequence[str]:
    """Studies that are being ended before their time."""
    return session.scalars(select(Study.id).where(Study.state == "cancelling").order_by(Study.id)).all()


def find_idle(session: Session) -> Sequence[str]:
    """Running studies without a job that has not ended and without a turn that is due: nothing would ever happen."""
    has_job = select(Job.id).where(Job.study_id == Study.id, Job.state.not_in(JOB_ENDED)).exists()
    query = select(Study.id).where(
        Study.state.in_(("queued", "running", "checking")), Study.turn <= Study.turn_taken, ~has_job
    )
    return session.scalars(query.order_by(Study.id)).all()
