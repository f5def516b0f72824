"""Stored files, and who sent them."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from edgefleet_controller.db.tables.base import Base


class Blob(Base):
    """A content-addressed file in the blob store; the row exists only once the bytes are there.

    Of raw samples whose retention is over, the row stays and says so (``expired_at``) when the bytes are gone.
    """

    __tablename__ = "blobs"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str]
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    """the last upload or new reference after the first; collecting garbage leaves a grace from then on"""
    expired_at: Mapped[datetime | None]


class BlobOwner(Base):
    """A project one of whose people or boards sent this file; files are stored once, whoever sent them."""

    __tablename__ = "blob_owners"
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256", ondelete="CASCADE"), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True, index=True)
