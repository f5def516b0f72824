"""What boards reported."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from edgefleet_controller.db.tables.base import Base, JsonObject, one_of

PROVENANCES = ("measured", "simulated", "replayed", "emulated", "imported")


FIGURES_INDEX = (
    "run_id",
    "job_id",
    "provenance",
    "verdict",
    "latency_p50_ms",
    "latency_p90_ms",
    "latency_p99_ms",
    "peak_memory_bytes",
    "accuracy",
    "energy_mj",
    "created_at",
)
"""What lists filter and sort by, kept beside the rows: those hold whole reports, and reading 100,000 takes seconds."""


class Result(Base):
    """The report of a run and the figures that lists and fronts are made of, recomputed from the raw samples."""

    __tablename__ = "results"
    __table_args__ = (
        one_of("provenance", *PROVENANCES),
        one_of("verdict", "valid", "suspect", "invalid"),
        Index("ix_results_figures", *FIGURES_INDEX),
        Index("ix_results_created", "created_at", "run_id"),
        # energy without a sensor is null with a reason, never zero and never missing without one
        CheckConstraint("(energy_mj IS NULL) = (energy_reason IS NOT NULL)", name="energy_has_reason"),
    )
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    attempt: Mapped[int]
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    report: Mapped[JsonObject]
    report_sha256: Mapped[str] = mapped_column(String(64))
    samples_sha256: Mapped[str | None] = mapped_column(ForeignKey("blobs.sha256"))
    """raw latency samples, or the blocks of a comparison"""
    provenance: Mapped[str]
    verdict: Mapped[str]
    latency_n: Mapped[int | None]
    latency_p50_ms: Mapped[float | None]
    latency_p90_ms: Mapped[float | None]
    latency_p99_ms: Mapped[float | None]
    peak_memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    accuracy: Mapped[float | None]
    energy_mj: Mapped[float | None]
    energy_reason: Mapped[str | None]
    energy_scope: Mapped[str | None]
    host_agreement: Mapped[JsonObject | None]
    """share, n, n_disagree, samples: the device's predictions against those of the compiling host"""
    metrics: Mapped[JsonObject | None]
    """f1_binary, f1_macro, mcc, n: of the device's predictions against the labels"""
    created_at: Mapped[datetime]
