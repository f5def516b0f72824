"""Releases of the agent, and how far they are on which board."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from edgefleet_controller.db.tables.base import Base, one_of

ROLLOUT_STATES = ("canary", "rolling", "completed", "stopped", "cancelled")
UPDATE_STATES = ("pending", "offered", "updated", "failed", "rolled_back")


class AgentRelease(Base):
    """A version of the agent to be installed on boards: a wheel in the blob store."""

    __tablename__ = "agent_releases"
    id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[str] = mapped_column(unique=True)
    wheel_name: Mapped[str]
    wheel_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"))
    created_at: Mapped[datetime]


class Rollout(Base):
    """Brings a release to boards: a share of them first, the others when those are well."""

    __tablename__ = "rollouts"
    __table_args__ = (one_of("state", *ROLLOUT_STATES),)
    id: Mapped[str] = mapped_column(primary_key=True)
    release_id: Mapped[str] = mapped_column(ForeignKey("agent_releases.id"))
    state: Mapped[str]
    max_failures: Mapped[int]
    message: Mapped[str]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class RolloutDevice(Base):
    """How far a rollout is on one device."""

    __tablename__ = "rollout_devices"
    __table_args__ = (one_of("state", *UPDATE_STATES),)
    rollout_id: Mapped[str] = mapped_column(ForeignKey("rollouts.id"), primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id"), primary_key=True)
    is_canary: Mapped[bool]
    state: Mapped[str]
    from_version: Mapped[str | None]
    message: Mapped[str | None]
    offered_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
