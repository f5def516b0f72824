"""Runs, and what those need that name no board."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from edgefleet_controller.db.tables.base import Base, JsonObject, one_of

RUN_STATES = ("queued", "leased", "completed", "failed", "cancelled")
RUN_KINDS = ("measure", "ab", "aa")


class Requirement(Base):
    """What a run needs of the device that takes it, where the device is not named."""

    __tablename__ = "requirements"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    document: Mapped[JsonObject]
    created_at: Mapped[datetime]


class Run(Base):
    """One artifact on one device, once, of a job or of a comparison. ``attempt`` fences every write about it."""

    __tablename__ = "runs"
    __table_args__ = (
        one_of("state", *RUN_STATES),
        one_of("kind", *RUN_KINDS),
        CheckConstraint(
            "(job_id IS NULL) = (variant_id IS NULL) AND (job_id IS NULL) = (comparison_id IS NOT NULL) "
            "AND (job_id IS NULL) = (kind <> 'measure')",
            name="has_one_owner",
        ),
        CheckConstraint(
            "device_id IS NOT NULL OR requirement_sha256 IS NOT NULL", name="has_a_device_or_a_requirement"
        ),
        CheckConstraint("device_id IS NOT NULL OR state <> 'leased'", name="is_leased_by_a_device"),
        Index("ix_runs_queue", "device_id", "state", "priority", "id"),
        Index("ix_runs_leases", "state", "lease_expires_at"),
        Index("ix_runs_device_finished", "device_id", "finished_at"),
        Index("ix_runs_history", "artifact_sha256", "device_id", "id"),
        Index(
            "ix_runs_unassigned",
            "requirement_sha256",
            "priority",
            "id",
            sqlite_where=text("state = 'queued' AND device_id IS NULL"),
            postgresql_where=text("state = 'queued' AND device_id IS NULL"),
        ),
        Index(
            "ix_runs_same_artifact",
            "artifact_sha256",
            "device_id",
            "priority",
            "id",
            sqlite_where=text("state = 'queued'"),
            postgresql_where=text("state = 'queued'"),
        ),
        # one run at a time on a device
        Index(
            "uq_runs_leased_device",
            "device_id",
            unique=True,
            sqlite_where=text("state = 'leased'"),
            postgresql_where=text("state = 'leased'"),
        ),
        UniqueConstraint("variant_id", "device_id", "settings_ordinal"),
        UniqueConstraint("variant_id", "settings_ordinal", "slot", name="uq_runs_slot"),
        UniqueConstraint("comparison_id", "device_id"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(default="measure", server_default="measure")
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    variant_id: Mapped[str | None] = mapped_column(ForeignKey("variants.id"))
    comparison_id: Mapped[str | None] = mapped_column(ForeignKey("comparisons.id"))
    settings_ordinal: Mapped[int] = mapped_column(default=0, server_default="0")
    """position among the settings that the job sweeps"""
    device_id: Mapped[str | None] = mapped_column(ForeignKey("devices.id"))
    """null while a run with a requirement waits for a device that meets it"""
    requirement_sha256: Mapped[str | None] = mapped_column(ForeignKey("requirements.sha256"))
    slot: Mapped[int | None]
    """which of the variant's runs with a requirement it is, from 0; each goes to another device"""
    leased_to: Mapped[str | None]
    """the agent's start and claim that it was handed to, see runs.orphans"""
    artifact_sha256: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str]
    attempt: Mapped[int] = mapped_column(default=0)
    priority: Mapped[int] = mapped_column(default=100)
    order: Mapped[JsonObject]
    """the RunOrder without run_id, attempt and lease"""
    phase: Mapped[str | None]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    lease_expires_at: Mapped[datetime | None]
    error: Mapped[JsonObject | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
