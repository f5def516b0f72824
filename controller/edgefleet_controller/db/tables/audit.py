"""The audit log."""

from datetime import datetime

from sqlalchemy import Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from edgefleet_controller.db.tables.base import Base, JsonObject


class AuditEntry(Base):
    """One change by a person, or of who may do what; never updated or deleted. Each entry's hash covers the one before."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_object", "object_kind", "object_id"),)
    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    at: Mapped[datetime]
    actor_kind: Mapped[str]
    """operator_token, user, api_token, device, anonymous"""
    actor: Mapped[str]
    action: Mapped[str]
    """route, or what happened, such as ``login_refused``"""
    object_kind: Mapped[str | None]
    object_id: Mapped[str | None]
    project_id: Mapped[str | None]
    before_sha256: Mapped[str | None] = mapped_column(String(64))
    after_sha256: Mapped[str | None] = mapped_column(String(64))
    address: Mapped[str | None]
    """IP address of the client"""
    detail: Mapped[JsonObject]
    previous_sha256: Mapped[str] = mapped_column(String(64))
    entry_sha256: Mapped[str] = mapped_column(String(64), unique=True)
