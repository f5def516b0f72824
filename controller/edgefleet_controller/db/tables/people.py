"""Who may do what: projects, users, their roles, tokens and sessions.

Of every secret only a hash is stored: scrypt for passwords, SHA-256 for tokens, which have 256 random bits.
"""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from edgefleet_controller.db.tables.base import Base, one_of

ROLES = ("viewer", "operator", "admin")


class Project(Base):
    """Owns devices, models, jobs and comparisons; people have their roles in it."""

    __tablename__ = "projects"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    quota_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """how much its people and boards may have sent; null: as much as the store takes"""


class User(Base):
    """A person or a program with a name."""

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str | None]
    """scrypt with its parameters; null: no password, API tokens only"""
    is_admin: Mapped[bool]
    """administers the whole fleet: users, projects, keys, the audit log, and every project"""
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class Membership(Base):
    """The role of a user in a project."""

    __tablename__ = "memberships"
    __table_args__ = (one_of("role", *ROLES),)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    role: Mapped[str]


class ApiToken(Base):
    """A token of a user, ``eot_...``; it may do no more than its user, and no more than its role."""

    __tablename__ = "api_tokens"
    __table_args__ = (one_of("role", *ROLES),)
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    token_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    last_four: Mapped[str] = mapped_column(String(4))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    """the only project it is for; null: all of its user's"""
    role: Mapped[str]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class WebSession(Base):
    """A browser that signed in; ``user_id`` is null for the first-start operator token."""

    __tablename__ = "web_sessions"
    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"), index=True)
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime]


class RefusalBucket(Base):
    """How many refused sign-ins and enrolments an address, or a user's name, has left; none is stored of a full bucket."""

    __tablename__ = "refusal_buckets"
    key_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    """of the address or name: people type passwords where a name belongs"""
    full_at_s: Mapped[float] = mapped_column(index=True)
    """seconds since 1970 at which it is full again; a number, so that both back ends add to it in one statement"""
