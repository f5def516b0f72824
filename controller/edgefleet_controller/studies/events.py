"""The log of a study; every entry raises the study's version, which wakes whoever waits for a change."""

from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from edgefleet_controller.db.database import announce, now_of
from edgefleet_controller.db.tables import Study, StudyEvent


def record_event(
    session: Session, study_id: str, kind: str, message: str, trial: int | None = None, **detail: Any
) -> None:
    """Add an entry to the study's log."""
    entry = StudyEvent(
        study_id=study_id, trial=trial, kind=kind, message=message, detail=detail, created_at=now_of(session)
    )
    session.add(entry)
    mark_changed(session, study_id)


def mark_changed(session: Session, study_id: str) -> None:
    """Raise the study's version and wake whoever waits for it."""
    session.flush()
    raised = update(Study).where(Study.id == study_id).values(version=Study.version + 1)
    session.execute(raised.execution_options(synchronize_session="fetch"))
    announce(session, "study", study_id)
