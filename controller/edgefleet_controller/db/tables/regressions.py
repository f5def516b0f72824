"""Changes found in what an artifact measures, and who is told of them."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from edgefleet_controller.db.tables.base import Base, creator_column, one_of, project_column

WATCHED_FIGURES = ("latency_p50_ms", "energy_mj")
DELIVERY_STATES = ("queued", "delivered", "failed")


class Regression(Base):
    """A change of one figure of an artifact on a device, found when it was measured again; see ``regressions.change``."""

    __tablename__ = "regressions"
    __table_args__ = (
        one_of("figure", *WATCHED_FIGURES),
        one_of("direction", "worse", "better"),
        CheckConstraint("ratio > 0", name="ratio_is_positive"),
        UniqueConstraint("run_id", "figure"),
        Index("ix_regressions_series", "artifact_sha256", "device_id", "figure"),
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = project_column()
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), index=True)
    artifact_sha256: Mapped[str] = mapped_column(String(64))
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    """the measurement by which it was found"""
    changed_run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    """the first measurement after the change"""
    figure: Mapped[str]
    direction: Mapped[str]
    ratio: Mapped[float]
    """geometric mean after the change over that before it"""
    before: Mapped[float]
    """geometric mean, in the figure's unit"""
    after: Mapped[float]
    n_before: Mapped[int]
    n_after: Mapped[int]
    p_value: Mapped[float]
    created_at: Mapped[datetime]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None]


class WatchCursor(Base):
    """Up to which result an API process has looked for changes; its row is locked meanwhile, so that one looks at a time."""

    __tablename__ = "watch_cursors"
    name: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    run_id: Mapped[str]


class Webhook(Base):
    """An address that is told of a project's changes."""

    __tablename__ = "webhooks"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = project_column()
    url: Mapped[str]
    secret: Mapped[str]
    """key of the signatures; signing needs it, so it cannot be stored as a hash"""
    created_by: Mapped[str | None] = creator_column()
    created_at: Mapped[datetime]


class WebhookDelivery(Base):
    """One message to one address, until it was taken or given up."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (one_of("state", *DELIVERY_STATES), Index("ix_webhook_deliveries_due", "state", "due_at"))
    id: Mapped[str] = mapped_column(primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"), index=True)
    regression_id: Mapped[str] = mapped_column(ForeignKey("regressions.id"))
    state: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime]
    message: Mapped[str | None]
    """what the last attempt met"""
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
