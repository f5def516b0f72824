"""Jobs, their variants, their logs, which waits for which, and whose turn it is."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from edgefleet_controller.db.tables.base import Base, JsonObject, creator_column, one_of, project_column

JOB_STATES = ("waiting", "queued", "running", "cancelling", "cancelled", "completed", "failed")
JOB_PRIORITIES = ("low", "normal", "high")
COMPUTE_CLASSES = ("cpu", "gpu")
VARIANT_STATES = ("queued", "compressing", "compiling", "dispatched", "completed", "failed", "cancelled")


class Job(Base):
    """What a person asked for: one model, several recipes, targets and devices."""

    __tablename__ = "jobs"
    __table_args__ = (
        one_of("state", *JOB_STATES),
        one_of("priority", *JOB_PRIORITIES),
        Index("ix_jobs_created_at", "created_at"),
        Index("ix_jobs_state", "state"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    state: Mapped[str]
    request: Mapped[JsonObject]
    evaluation_sha256: Mapped[str | None]
    prepared: Mapped[JsonObject | None]
    """what preparing the data found: data_sha256, n_evaluation, has_labels, calibration_source"""
    progress: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str] = mapped_column(default="")
    error: Mapped[JsonObject | None]
    project_id: Mapped[str] = project_column()
    created_by: Mapped[str | None] = creator_column()
    """who submitted it, as fairness between people counts: a user's identifier, or the operator token's name"""
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    """rises with every change that ``?wait=`` should report"""
    priority: Mapped[str] = mapped_column(default="normal", server_default="normal")
    fair_end: Mapped[int | None] = mapped_column(BigInteger)
    """where its user's next job of this priority begins, see ``jobs.fairness``"""
    deadline_at: Mapped[datetime | None]
    identity_sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    """jobs with the same one make the same artifacts"""
    remeasure_of: Mapped[str | None]
    """the job whose artifacts this one only measures again"""
    study_id: Mapped[str | None] = mapped_column(index=True)
    """the study that it is a trial, or a check, of"""
    n_restarts: Mapped[int] = mapped_column(default=0, server_default="0")
    """how often the watchdog began it again after its tasks were lost"""


class Variant(Base):
    """One recipe for one target within a job."""

    __tablename__ = "variants"
    __table_args__ = (
        one_of("state", *VARIANT_STATES),
        one_of("compute", *COMPUTE_CLASSES),
        UniqueConstraint("job_id", "ordinal"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    ordinal: Mapped[int]
    name: Mapped[str]
    recipe: Mapped[JsonObject]
    recipe_sha256: Mapped[str] = mapped_column(String(64))
    target: Mapped[str]
    state: Mapped[str]
    compression_key: Mapped[str | None] = mapped_column(ForeignKey("compressions.key_sha256"))
    compression_cached: Mapped[bool | None]
    artifact_key: Mapped[str | None] = mapped_column(ForeignKey("artifacts.key_sha256"))
    error: Mapped[JsonObject | None]
    fair_tag: Mapped[int] = mapped_column(BigInteger, default=10_000, server_default="10000")
    """its turn: lower ones are served first"""
    compute: Mapped[str] = mapped_column(default="cpu", server_default="cpu")
    """where it is compressed: cpu or gpu"""


class JobEvent(Base):
    """What happened in a job, in order; the log that pages and ``watch`` show."""

    __tablename__ = "job_events"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    variant_id: Mapped[str | None]
    kind: Mapped[str]
    message: Mapped[str]
    detail: Mapped[JsonObject]
    created_at: Mapped[datetime]


class JobDependency(Base):
    """A job that begins when another one has completed."""

    __tablename__ = "job_dependencies"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    after_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True, index=True)


class FairClock(Base):
    """The virtual time of fair queuing, see ``jobs.fairness``."""

    __tablename__ = "fair_clocks"
    name: Mapped[str] = mapped_column(primary_key=True)
    virtual_time: Mapped[int] = mapped_column(BigInteger)
