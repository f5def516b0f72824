"""All results, filtered and sorted: lists over every job.

Two steps: the page's runs are found in an index that holds the figures (``ix_results_figures``), then those few rows are
read whole. A result's report is too large to be read for each of 100,000.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from edgefleet_compression.search.estimates import Estimate
from edgefleet_controller.db.tables import Artifact, Device, Job, Result, Run, Variant

SortKey = Literal[
    "newest", "latency_p50_ms", "latency_p90_ms", "latency_p99_ms", "energy_mj", "accuracy", "peak_memory_bytes"
]
Verdict = Literal["valid", "suspect", "invalid"]
Provenance = Literal["measured", "simulated", "replayed", "emulated", "imported"]
PAGE_SIZE = 50
MAX_PAGE = 100_000
SAMPLES_CONFIDENCE = 0.99
"""Of an interval over samples where the report names none: the default of ``wire.report.LatencySummary``."""

LAUNCHES_CONFIDENCE = 0.95
"""Of an interval over launches (``wire.report.LatencySummary.launch_intervals``)."""

_COLUMNS: Mapping[str, InstrumentedAttribute[Any]] = MappingProxyType(
    {
        "newest": Result.run_id,
        "latency_p50_ms": Result.latency_p50_ms,
        "latency_p90_ms": Result.latency_p90_ms,
        "latency_p99_ms": Result.latency_p99_ms,
        "energy_mj": Result.energy_mj,
        "accuracy": Result.accuracy,
        "peak_memory_bytes": Result.peak_memory_bytes,
    }
)


class ResultsFilter(BaseModel):
    """Which results are wanted, and in which order."""

    model_config = ConfigDict(extra="forbid")
    job: str | None = Field(default=None, max_length=200, description="only those of this job (identifier)")
    device: str | None = Field(
        default=None, max_length=200, description="only those of this board (identifier or name)"
    )
    variant: str | None = Field(default=None, max_length=200, description="only variants whose name holds this")
    verdict: Verdict | None = Field(default=None, description="only those of this verdict")
    provenance: Provenance | None = Field(default=None, description="only those of this provenance")
    sort: SortKey = Field(default="newest", description="what they are ordered by")
    order: Literal["asc", "desc"] | None = Field(default=None, description="smallest or largest first")
    page: int = Field(default=1, ge=1, le=MAX_PAGE, description="page of the list, from 1")

    @model_validator(mode="before")
    @classmethod
    def _empty_is_not_wanted(cls, given: Any) -> Any:
        """A form sends the fields that nobody filled in too."""
        return {name: value for name, value in given.items() if value != ""} if isinstance(given, Mapping) else given

    @property
    def is_descending(self) -> bool:
        """Newest and most accurate first, everything else smallest first, unless asked for otherwise."""
        return (self.order or ("desc" if self.sort in ("newest", "accuracy") else "asc")) == "desc"


@dataclass(frozen=True)
class ListedResult:
    """A row of the list. Estimates carry their standard error; None where the run has no such figure."""

    run_id: str
    job_id: str | None
    job_name: str | None
    variant: str
    device_id: str | None
    device_name: str | None
    provenance: str
    verdict: str
    created_at: datetime
    artifact_sha256: str | None
    size_bytes: int | None
    latency_n: int | None
    latency_p50_ms: float | None
    latency_interval_ms: tuple[float, float] | None
    latency_confidence: float
    latency_p90_ms: float | None
    latency_p99_ms: float | None
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    energy_mj: float | None
    energy_uncertainty_mj: float | None
    energy_scope: str | None
    peak_memory_bytes: int | None
    settings: Mapping[str, Any]

    @property
    def label(self) -> str:
        """What was measured where."""
        return f"{self.variant} on {self.device_name or 'no board'}"

    def estimate(self, figure: str) -> Estimate | None:
        """One of its figures with its standard error; bytes are exact, memory comes without one."""
        value = getattr(self, figure)
        if value is None:
            return None
        if figure == "latency_p50_ms" and self.latency_interval_ms is not None:
            return Estimate.of_interval(value, *self.latency_interval_ms, confidence=self.latency_confidence)
        if figure == "accuracy" and self.accuracy_interval is not None:
            return Estimate.of_interval(value, *self.accuracy_interval)
        if figure == "energy_mj" and self.energy_uncertainty_mj is not None:
            half = self.energy_uncertainty_mj
            return Estimate.of_interval(value, value - half, value + half)
        return Estimate(value)


@dataclass(frozen=True)
class ResultsList:
    """A page of the list."""

    rows: list[ListedResult]
    n_results: int
    page: int

    @property
    def n_pages(self) -> int:
        """Pages in all."""
        return max(1, -(-self.n_results // PAGE_SIZE))


def list_results(session: Session, wanted: ResultsFilter) -> ResultsList:
    """The page of results that the filter names."""
    column = _COLUMNS[wanted.sort]
    chosen = _chosen(wanted, select(Result.run_id)).where(column.is_not(None))
    counted = _chosen(wanted, select(func.count(Result.run_id))).where(column.is_not(None))
    n_results = session.scalar(counted) or 0
    direction = column.desc() if wanted.is_descending else column.asc()
    page = chosen.order_by(direction, Result.run_id.desc()).limit(PAGE_SIZE).offset((wanted.page - 1) * PAGE_SIZE)
    return ResultsList(read_listed(session, list(session.scalars(page))), n_results, wanted.page)


def _chosen(wanted: ResultsFilter, query: Select[Any]) -> Select[Any]:
    if wanted.job is not None:
        query = query.where(Result.job_id == wanted.job)
    if wanted.verdict is not None:
        query = query.where(Result.verdict == wanted.verdict)
    if wanted.provenance is not None:
        query = query.where(Result.provenance == wanted.provenance)
    if wanted.device is not None or wanted.variant is not None:
        query = query.join(Run, Run.id == Result.run_id)
    if wanted.device is not None:
        named = select(Device.id).where(or_(Device.id == wanted.device, Device.name == wanted.device))
        query = query.where(Run.device_id.in_(named))
    if wanted.variant is not None:
        held = Variant.name.icontains(wanted.variant, autoescape=True)
        query = query.join(Variant, Variant.id == Run.variant_id).where(held)
    return query


def read_listed(session: Session, run_ids: Sequence[str]) -> list[ListedResult]:
    """These results in this order; one that is not there, or not the caller's, is left out."""
    if not run_ids:
        return []
    query = listed_query(with_errors=True).where(Result.run_id.in_(run_ids))
    found = {row.run_id: listed_of(row) for row in session.execute(query)}
    return [found[run_id] for run_id in run_ids if run_id in found]


def listed_query(*, with_errors: bool) -> Select[*tuple[Any, ...]]:
    """Columns of listed results. Errors stand in the reports, which have to be parsed for them."""
    report, latency = Result.report, Result.report["latency_ms"]
    errors = [
        latency["launch_intervals"]["p50"].label("launches_interval_ms"),
        latency["intervals"]["p50"].label("samples_interval_ms"),
        latency["confidence"].label("samples_confidence"),
        report["accuracy"]["interval"].label("accuracy_interval"),
        report["energy"]["expanded_uncertainty_mj"].label("energy_uncertainty_mj"),
    ]
    return (
        select(
            Result.run_id,
            Result.job_id,
            Job.name.label("job_name"),
            Variant.name.label("variant"),
            Run.kind,
            Run.device_id,
            Device.name.label("device_name"),
            Result.provenance,
            Result.verdict,
            Result.created_at,
            Run.artifact_sha256,
            Artifact.size_bytes,
            Result.latency_n,
            Result.latency_p50_ms,
            Result.latency_p90_ms,
            Result.latency_p99_ms,
            Result.accuracy,
            Result.energy_mj,
            Result.energy_scope,
            Result.peak_memory_bytes,
            Run.order["settings"].label("settings"),
            *(errors if with_errors else []),
        )
        .join(Run, Run.id == Result.run_id)
        .outerjoin(Job, Job.id == Result.job_id)
        .outerjoin(Variant, Variant.id == Run.variant_id)
        .outerjoin(Artifact, Artifact.key_sha256 == Variant.artifact_key)
        .outerjoin(Device, Device.id == Run.device_id)
    )


_PLAIN = (
    "run_id",
    "job_id",
    "job_name",
    "device_id",
    "device_name",
    "provenance",
    "verdict",
    "created_at",
    "artifact_sha256",
    "size_bytes",
    "latency_n",
    "latency_p50_ms",
    "latency_p90_ms",
    "latency_p99_ms",
    "accuracy",
    "energy_mj",
    "energy_scope",
    "peak_memory_bytes",
)


def listed_of(row: Any) -> ListedResult:
    """A row of ``listed_query``. Of several launches the interval is that over launches, as on every other front."""
    over_launches = getattr(row, "launches_interval_ms", None)
    interval = over_launches or getattr(row, "samples_interval_ms", None)
    confidence = LAUNCHES_CONFIDENCE if over_launches else getattr(row, "samples_confidence", None)
    accuracy_interval = getattr(row, "accuracy_interval", None)
    return ListedResult(
        **{name: getattr(row, name) for name in _PLAIN},
        variant=row.variant or f"{row.kind} comparison",
        latency_interval_ms=tuple(interval) if interval else None,
        latency_confidence=confidence or SAMPLES_CONFIDENCE,
        accuracy_interval=tuple(accuracy_interval) if accuracy_interval else None,
        energy_uncertainty_mj=getattr(row, "energy_uncertainty_mj", None),
        settings=row.settings or {},
    )
