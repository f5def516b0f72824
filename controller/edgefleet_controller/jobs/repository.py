"""The jobs' SQL."""

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Job, JobEvent, Run, Variant
from edgefleet_controller.jobs.fairness import FIRST_TAG
from edgefleet_controller.pagination import PageRequest, fetch_page

ENDED = ("cancelled", "completed", "failed")


def add(session: Session, *rows: Job | Variant) -> None:
    """Insert the rows now, in this order."""
    for row in rows:
        session.add(row)
        session.flush()


def find(session: Session, job_id: str) -> Job | None:
    """The job with this identifier."""
    return session.get(Job, job_id)


def find_locked(session: Session, job_id: str) -> Job | None:
    """The job, locked until the end of the transaction."""
    query = select(Job).where(Job.id == job_id).with_for_update().execution_options(populate_existing=True)
    return session.scalar(query)


def page_of_jobs(session: Session, page: PageRequest) -> tuple[list[Job], str | None]:
    """Jobs, newest first."""
    return fetch_page(session, select(Job), Job.id, page)


def variants_of(session: Session, job_id: str, *, limit: int | None = None) -> list[Variant]:
    """The job's variants in its order, or the first of them."""
    query = select(Variant).where(Variant.job_id == job_id).order_by(Variant.ordinal)
    return list(session.scalars(query.limit(limit)))


def find_variant(session: Session, variant_id: str) -> Variant | None:
    """The variant with this identifier."""
    return session.get(Variant, variant_id)


def variant_states(session: Session, job_id: str) -> list[str]:
    """States of the job's variants as they are in the store now, in their order."""
    return list(session.scalars(select(Variant.state).where(Variant.job_id == job_id).order_by(Variant.ordinal)))


def has_unended_variant(session: Session, job_id: str) -> bool:
    """Whether a variant of the job has not ended; one row is read however many there are."""
    query = select(Variant.id).where(Variant.job_id == job_id, Variant.state.not_in(ENDED))
    return session.scalar(query.limit(1)) is not None


def first_variant_error(session: Session, job_id: str) -> dict[str, object] | None:
    """Why the job's first failed variant failed."""
    query = select(Variant.error).where(Variant.job_id == job_id, Variant.state == "failed")
    return session.scalar(query.order_by(Variant.ordinal).limit(1))


def run_states_of_variant(session: Session, variant_id: str) -> list[str]:
    """States of the variant's runs."""
    return list(session.scalars(select(Run.state).where(Run.variant_id == variant_id)))


def has_unended_run(session: Session, variant_id: str) -> bool:
    """Whether a run of the variant has not ended; one row is read however many there are."""
    query = select(Run.id).where(Run.variant_id == variant_id, Run.state.in_(("queued", "leased")))
    return session.scalar(query.limit(1)) is not None


def last_run_error(session: Session, variant_id: str) -> dict[str, object] | None:
    """Why the variant's latest failed run failed."""
    query = (
        select(Run.error).where(Run.variant_id == variant_id, Run.state == "failed").order_by(Run.finished_at.desc())
    )
    return session.scalar(query.limit(1))


def cancel_variants(session: Session, job_id: str) -> None:
    """Cancel the variants that have not ended."""
    session.execute(
        update(Variant)
        .where(Variant.job_id == job_id, Variant.state.not_in(ENDED))
        .values(state="cancelled")
        .execution_options(synchronize_session="fetch")
    )


def events_after(session: Session, job_id: str, after: int, limit: int) -> list[JobEvent]:
    """The job's log from a number on, oldest first."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.id > after)
    return list(session.scalars(query.order_by(JobEvent.id).limit(limit)))


def versions(session: Session, job_ids: Collection[str]) -> dict[str, int]:
    """Present versions of these jobs."""
    if not job_ids:
        return {}
    rows = session.execute(select(Job.id, Job.version).where(Job.id.in_(job_ids)))
    return {row.id: row.version for row in rows}


def queued_before(session: Session, moment: datetime) -> Sequence[str]:
    """Jobs that nobody has begun since."""
    return session.scalars(select(Job.id).where(Job.state == "queued", Job.created_at < moment)).all()


def turn_of(session: Session, job_id: str) -> int:
    """The tag of the job's first variant, see ``jobs.fairness``."""
    return session.scalar(select(func.min(Variant.fair_tag)).where(Variant.job_id == job_id)) or FIRST_TAG


def cancelling_without_lease(session: Session) -> Sequence[str]:
    """Jobs to be cancelled that no agent works on any more."""
    leased = select(Run.id).where(Run.job_id == Job.id, Run.state == "leased").exists()
    return session.scalars(select(Job.id).where(Job.state == "cancelling", ~leased)).all()
