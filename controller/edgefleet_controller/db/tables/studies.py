"""Studies, which search for recipes on the fleet, their trials, and their logs."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from edgefleet_controller.db.tables.base import Base, JsonObject, creator_column, one_of, project_column

STUDY_STATES = ("queued", "running", "waiting", "checking", "cancelling", "cancelled", "completed", "failed")
TRIAL_STATES = ("running", "completed", "failed", "cancelled")


class Study(Base):
    """A search under constraints: its trials are jobs of their own."""

    __tablename__ = "studies"
    __table_args__ = (one_of("state", *STUDY_STATES), Index("ix_studies_state", "state"))
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    state: Mapped[str]
    request: Mapped[JsonObject]
    """what was asked for, with the devices it was resolved to"""
    spec: Mapped[JsonObject]
    """what is searched, as the library of the search reads it; with the trials it decides what is proposed"""
    analysis: Mapped[JsonObject | None]
    """what was known before the first trial"""
    checks: Mapped[JsonObject | None]
    """the deployment check: finalists, the jobs that measure them again, the comparisons in turns"""
    report: Mapped[JsonObject | None]
    """what came out, written when the study ends"""
    error: Mapped[JsonObject | None]
    """code, message and detail of why it waits, or of why it was stopped"""
    progress: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str] = mapped_column(default="")
    project_id: Mapped[str] = project_column()
    created_by: Mapped[str | None] = creator_column()
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]
    look_at: Mapped[datetime | None]
    """when to look again at what nobody tells of, such as a fleet that is away"""
    turn: Mapped[int] = mapped_column(default=1, server_default="1")
    """raised whenever there is something new to act upon"""
    turn_taken: Mapped[int] = mapped_column(default=0, server_default="0")
    """up to which turn it was acted upon; less than ``turn``: a task is due"""
    version: Mapped[int] = mapped_column(default=1, server_default="1")
    """rises with every change that ``?wait=`` should report"""


class Trial(Base):
    """One point of the search space at one fidelity, for one target: a job of one variant."""

    __tablename__ = "trials"
    __table_args__ = (one_of("state", *TRIAL_STATES),)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """position in the study, from 0"""
    proposal: Mapped[JsonObject]
    """what the search proposed: point, fidelity, parent"""
    recipe: Mapped[JsonObject]
    target: Mapped[str]
    key_sha256: Mapped[str] = mapped_column(String(64))
    """the same for trials that would measure the same"""
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    """null where no job could be made of it"""
    state: Mapped[str]
    outcome: Mapped[JsonObject | None]
    """what was measured on which board, and the objectives' values"""
    cause: Mapped[JsonObject | None]
    """code and message of why it failed"""
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class StudyEvent(Base):
    """What happened in a study, in order."""

    __tablename__ = "study_events"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("studies.id"), index=True)
    trial: Mapped[int | None]
    """number of the trial it concerns"""
    kind: Mapped[str]
    message: Mapped[str]
    detail: Mapped[JsonObject]
    created_at: Mapped[datetime]
