"""The results of jobs as points of five figures, for fronts of any two or three of them.

Whole reports are not read: of a job with thousands of results they would take seconds. Of more than ``MAX_WITH_ERRORS``
results the errors, which only the reports hold, are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from edgefleet_compression.search.estimates import Estimate
from edgefleet_controller.db.tables import Artifact, Device, Job, Result, Run, Variant
from edgefleet_controller.results.listing import ListedResult, listed_of, listed_query

MAX_POINTS = 10_000
MAX_WITH_ERRORS = 2_000


@dataclass(frozen=True)
class FrontFigure:
    """A figure that a front may be drawn over. share: a number from 0 to 1. scale: what it is divided by for people."""

    label: str
    is_maximised: bool = False
    is_share: bool = False
    scale: float = 1.0


FRONT_FIGURES: Mapping[str, FrontFigure] = MappingProxyType(
    {
        "latency_p50_ms": FrontFigure("median latency, ms"),
        "accuracy": FrontFigure("accuracy", is_maximised=True, is_share=True),
        "size_bytes": FrontFigure("file, kB", scale=1e3),
        "energy_mj": FrontFigure("energy per inference, mJ"),
        "peak_memory_bytes": FrontFigure("peak memory, MB", scale=1e6),
    }
)


class ExactPoint(NamedTuple):
    """A result of a large job: its figures without their errors. The fields are those of ``ListedResult``."""

    run_id: str
    device_name: str | None
    provenance: str
    verdict: str
    latency_p50_ms: float | None
    accuracy: float | None
    energy_mj: float | None
    peak_memory_bytes: int | None
    variant: str
    size_bytes: int | None

    def estimate(self, figure: str) -> Estimate | None:
        """One of its figures, taken for exact."""
        value = getattr(self, figure)
        return None if value is None else Estimate(value)


PointRow = ListedResult | ExactPoint


@dataclass(frozen=True)
class FrontPoints:
    """Results that may be points. n_invalid: results that were left out because nothing is derived from them."""

    rows: Sequence[PointRow]
    n_invalid: int
    has_errors: bool
    is_cut: bool
    """there are more than ``MAX_POINTS``"""


def points_of_jobs(session: Session, job_ids: Sequence[str]) -> FrontPoints:
    """Valid and suspect results of the jobs, of whatever provenance."""
    of_jobs = Result.job_id.in_(job_ids)
    counts: dict[str, int] = dict(
        session.execute(select(Result.verdict, func.count(Result.run_id)).where(of_jobs).group_by(Result.verdict)).all()
    )
    n_points = sum(n for verdict, n in counts.items() if verdict != "invalid")
    has_errors = n_points <= MAX_WITH_ERRORS
    rows = _with_errors(session, job_ids) if has_errors else _exact(session, job_ids)
    return FrontPoints(rows, counts.get("invalid", 0), has_errors, n_points > MAX_POINTS)


def _with_errors(session: Session, job_ids: Sequence[str]) -> list[PointRow]:
    query = listed_query(with_errors=True).where(Result.job_id.in_(job_ids), Result.verdict != "invalid")
    return [listed_of(row) for row in session.execute(query)]


def _exact(session: Session, job_ids: Sequence[str]) -> list[PointRow]:
    """Figures from their index (``ix_results_figures``) by the runs of the jobs: whole rows hold the reports."""
    named = {
        variant_id: (name, size_bytes)
        for variant_id, name, size_bytes in session.execute(
            select(Variant.id, Variant.name, Artifact.size_bytes)
            .outerjoin(Artifact, Artifact.key_sha256 == Variant.artifact_key)
            .where(Variant.job_id.in_(job_ids))
        )
    }
    figures = (Result.latency_p50_ms, Result.accuracy, Result.energy_mj, Result.peak_memory_bytes)
    query = (
        select(Result.run_id, Device.name, Result.provenance, Result.verdict, *figures, Run.variant_id)
        .join(Run, Run.id == Result.run_id)
        .outerjoin(Device, Device.id == Run.device_id)
        .where(Run.job_id.in_(job_ids), Result.verdict != "invalid")
        .limit(MAX_POINTS)
    )
    rows: Sequence[Any] = session.execute(query).all()
    return [ExactPoint._make((*row[:-1], *named[row[-1]])) for row in rows]


def imports_of_model(session: Session, model_id: str) -> list[str]:
    """Jobs that hold profiles of other tools of the model."""
    query = select(Job.id).join(Run, Run.job_id == Job.id).join(Device, Device.id == Run.device_id)
    return list(session.scalars(query.where(Device.kind == "imported", Job.model_id == model_id).distinct()))


def point_document(row: PointRow) -> dict[str, Any]:
    """A result as the page's script reads it: figure -> [value, low, high], or [value], in the figures' units for people."""
    return {
        "run": row.run_id,
        "name": row.variant,
        "device": row.device_name or "",
        "verdict": row.verdict,
        "provenance": row.provenance,
        "figures": _exact_figures(row) if isinstance(row, ExactPoint) else _figures(row),
    }


def _exact_figures(row: ExactPoint) -> dict[str, list[float]]:
    values = ((name, figure.scale, getattr(row, name)) for name, figure in FRONT_FIGURES.items())
    return {name: [value / scale] for name, scale, value in values if value is not None}


def _figures(row: ListedResult) -> dict[str, list[float]]:
    figures = {}
    for name, figure in FRONT_FIGURES.items():
        estimate = row.estimate(name)
        if estimate is not None:
            low, high = estimate.interval
            figures[name] = [value / figure.scale for value in (estimate.value, low, high)]
    return figures
