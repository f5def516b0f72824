"""Registered networks, and what was found by looking at them."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from edgefleet_controller.db.tables.base import Base, JsonObject, creator_column, one_of, project_column

ANALYSIS_STATES = ("queued", "running", "completed", "failed", "cancelled")


class Model(Base):
    """A network that a person registered."""

    __tablename__ = "models"
    __table_args__ = (one_of("format", "onnx", "safetensors"),)
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    format: Mapped[str]
    blob_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"))
    facts: Mapped[JsonObject]
    """what inspection found: inputs, outputs, n_parameters, architecture, opset"""
    data: Mapped[JsonObject | None]
    """data set: {"kind": "packaged", "name": ...} or {"kind": "npz", "sha256": ...}, or null"""
    project_id: Mapped[str] = project_column()
    created_by: Mapped[str | None] = creator_column()
    created_at: Mapped[datetime]


class Analysis(Base):
    """A look at a network before compression; the same network, data and options are looked at once."""

    __tablename__ = "analyses"
    __table_args__ = (one_of("state", *ANALYSIS_STATES),)
    id: Mapped[str] = mapped_column(primary_key=True)
    key_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    model_sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), index=True)
    request: Mapped[JsonObject]
    """what the key was made of: model_format, data, recipes, n_samples, tools"""
    state: Mapped[str]
    progress: Mapped[float] = mapped_column(default=0.0)
    message: Mapped[str] = mapped_column(default="")
    result: Mapped[JsonObject | None]
    error: Mapped[JsonObject | None]
    created_at: Mapped[datetime]
    requested_at: Mapped[datetime]
    """when it was last asked for; of several analyses of a model the newest request is shown"""
    seen_at: Mapped[datetime | None]
    """last sign of the process that runs it; a running one without signs is begun again"""
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
