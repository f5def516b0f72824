"""What compression and compilation made, kept under what it was made of."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from edgefleet_controller.db.tables.base import Base, JsonObject


class Compression(Base):
    """A cached compression: the same model, recipe, data, seed and tool versions give the same candidate."""

    __tablename__ = "compressions"
    key_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[JsonObject]
    candidate_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"))
    result: Mapped[JsonObject]
    """the step's result: records, stats, notes"""
    cost_s: Mapped[float]
    created_at: Mapped[datetime]


class Artifact(Base):
    """A compiled file with its manifest; ``key_sha256`` caches the compilation."""

    __tablename__ = "artifacts"
    key_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[JsonObject]
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    target: Mapped[str]
    manifest: Mapped[JsonObject]
    accuracy_host: Mapped[JsonObject]
    created_at: Mapped[datetime]
