"""Workers, who leads them, and what they are computing."""

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from edgefleet_controller.db.tables.base import Base, one_of

WORKER_STATES = ("active", "stopped", "dead")


class Worker(Base):
    """A worker process by its stable name. Instants are those of the database's clock."""

    __tablename__ = "workers"
    __table_args__ = (one_of("state", *WORKER_STATES),)
    name: Mapped[str] = mapped_column(primary_key=True)
    incarnation: Mapped[str] = mapped_column(unique=True)
    """new at every start; a worker that finds another one here has lost its name and ends"""
    state: Mapped[str]
    queues: Mapped[list[Any]]
    host: Mapped[str]
    version: Mapped[str]
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]


class LeaderLease(Base):
    """Who does what only one worker may do."""

    __tablename__ = "leader_leases"
    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    acquired_at: Mapped[datetime]
    """since when without a break"""
    expires_at: Mapped[datetime]


class StepClaim(Base):
    """A compression or compilation that a worker is making; others who need the same wait for it."""

    __tablename__ = "step_claims"
    key_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    variant_id: Mapped[str]
    incarnation: Mapped[str]
    """of the worker; the claim ends with it"""
    claimed_at: Mapped[datetime]
