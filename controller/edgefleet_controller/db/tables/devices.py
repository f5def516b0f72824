"""Boards, and the tokens that they join with."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, false, true
from sqlalchemy.orm import Mapped, mapped_column

from edgefleet_controller.db.tables.base import Base, JsonObject, creator_column, one_of, project_column

DEVICE_KINDS = ("physical", "simulated", "emulated", "replay", "imported")
"""``imported``: stands for a device of another tool, whose figures were imported; no agent has its credential."""
DEVICE_STATES = ("registered", "pending", "active", "held", "draining", "quarantined", "revoked")


class Device(Base):
    """An enrolled (or registered, not yet enrolled) board."""

    __tablename__ = "devices"
    __table_args__ = (one_of("kind", *DEVICE_KINDS), one_of("state", *DEVICE_STATES))
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    board: Mapped[str]
    kind: Mapped[str]
    state: Mapped[str]
    labels: Mapped[JsonObject]
    facts: Mapped[JsonObject | None]
    facts_sha256: Mapped[str | None]
    credential_sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    agent_version: Mapped[str | None]
    last_seen_at: Mapped[datetime | None]
    enrolled_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(default=1)
    project_id: Mapped[str] = project_column()
    created_by: Mapped[str | None] = creator_column()
    public_key: Mapped[str | None] = mapped_column(String(64))
    """ed25519 key made on the device, hexadecimal"""
    credential_issued_at: Mapped[datetime | None]
    previous_credential_sha256: Mapped[str | None] = mapped_column(String(64), unique=True)
    """still accepted until previous_credential_until, after a rotation"""
    previous_credential_until: Mapped[datetime | None]
    changed_at: Mapped[datetime | None] = mapped_column(index=True)
    """last change that a claim's answer may depend on; other processes look for what is younger than their last look"""
    held_by: Mapped[str | None]
    """who keeps it from runs, why and until when; also of a drain and of a quarantine"""
    held_reason: Mapped[str | None]
    held_until: Mapped[datetime | None]
    windows: Mapped[list[Any] | None]
    """maintenance windows, see devices.windows"""
    cool_down_s: Mapped[float] = mapped_column(default=0.0, server_default="0")
    rests_until: Mapped[datetime | None]
    """end of the cool-down after its last run"""
    last_artifact_sha256: Mapped[str | None] = mapped_column(String(64))
    """what it measured last and so still has; the next run of the same file goes to it first"""
    is_reserved: Mapped[bool] = mapped_column(default=False, server_default=false())
    """takes only runs that name it, or that no other board could do"""
    failures: Mapped[list[Any] | None]
    """its failed runs in a row, newest last: run_id, code, message"""


class JoinToken(Base):
    """A one-time token; only its hash is kept."""

    __tablename__ = "join_tokens"
    id: Mapped[str] = mapped_column(primary_key=True)
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    device_id: Mapped[str | None] = mapped_column(ForeignKey("devices.id"))
    labels: Mapped[JsonObject]
    board: Mapped[str | None]
    """the only board kind it enrols; null: any"""
    serial: Mapped[str | None]
    """the only board serial it enrols; null: any"""
    auto_accept: Mapped[bool] = mapped_column(default=True, server_default=true())
    """without it the device waits in state pending until a person accepts it"""
    project_id: Mapped[str] = project_column()
    created_by: Mapped[str | None] = creator_column()
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
