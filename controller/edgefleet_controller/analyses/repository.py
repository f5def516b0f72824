"""The analyses' SQL."""

from datetime import datetime

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Analysis


def find(session: Session, analysis_id: str) -> Analysis | None:
    """The analysis."""
    return session.scalar(select(Analysis).where(Analysis.id == analysis_id))


def find_locked(session: Session, analysis_id: str) -> Analysis | None:
    """The analysis, locked against other writers where the store can."""
    return session.scalar(select(Analysis).where(Analysis.id == analysis_id).with_for_update())


def has_work(session: Session, silent_since: datetime) -> bool:
    """Whether an analysis waits, or its process gives no sign any more."""
    query = select(Analysis.id).where(
        or_(Analysis.state == "queued", (Analysis.state == "running") & (Analysis.seen_at < silent_since))
    )
    return session.scalar(query.limit(1)) is not None


def oldest_sign(session: Session) -> datetime | None:
    """Of the running analyses, the sign of life that is longest ago."""
    query = select(Analysis.seen_at).where(Analysis.state == "running", Analysis.seen_at.is_not(None))
    return session.scalar(query.order_by(Analysis.seen_at).limit(1))


def find_by_key(session: Session, key_sha256: str) -> Analysis | None:
    """The analysis of the same network, data and options."""
    return session.scalar(select(Analysis).where(Analysis.key_sha256 == key_sha256).with_for_update())


def newest_of_model(session: Session, model_sha256: str) -> Analysis | None:
    """The analysis of this file that was asked for last."""
    query = select(Analysis).where(Analysis.model_sha256 == model_sha256)
    return session.scalar(query.order_by(Analysis.requested_at.desc(), Analysis.id.desc()).limit(1))


def claim_oldest(session: Session, now: datetime) -> Analysis | None:
    """Mark the oldest queued analysis as running and return it; None when there is none, or another process took it."""
    waiting = session.scalar(
        select(Analysis.id).where(Analysis.state == "queued").order_by(Analysis.requested_at, Analysis.id).limit(1)
    )
    taken = session.execute(
        update(Analysis)
        .where(Analysis.id == waiting, Analysis.state == "queued")
        .values(state="running", started_at=now, seen_at=now, progress=0.0, message="begins")
    )
    return find_locked(session, waiting) if waiting is not None and taken.rowcount else None  # type: ignore[attr-defined]


def queue_silent(session: Session, silent_since: datetime) -> None:
    """Queue again what a process ran that gives no sign any more."""
    session.execute(
        update(Analysis)
        .where(Analysis.state == "running", Analysis.seen_at < silent_since)
        .values(state="queued", message="waits: the process that ran it is gone")
    )
