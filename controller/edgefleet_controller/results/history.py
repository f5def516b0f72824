"""What a device measured over time, artifact by artifact: the series that regressions are looked for in."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from edgefleet_controller.db.tables import Regression, Result, Run, Variant

MAX_RUNS = 500
"""Of a device's last runs so many are looked at; of one artifact so many points are shown."""


@dataclass(frozen=True)
class MeasuredArtifact:
    """A file that a device measured, by the name that its last job gave it."""

    sha256: str
    name: str
    n_runs: int
    last_at: datetime


@dataclass(frozen=True)
class HistoryPoint:
    """One run of an artifact on a device. Intervals are those of its report, of latency over launches where it had several;
    None where it has none.
    """

    run_id: str
    at: datetime
    verdict: str
    provenance: str
    latency_p50_ms: float | None
    latency_interval_ms: tuple[float, float] | None
    energy_mj: float | None
    energy_uncertainty_mj: float | None


def artifacts_of_device(session: Session, device_id: str) -> list[MeasuredArtifact]:
    """The files among the device's last runs, the most often measured first."""
    recent = _recent(device_id).subquery()
    query = (
        select(recent.c.artifact_sha256, func.count(), func.max(recent.c.finished_at), func.max(Variant.name))
        .join(Result, Result.run_id == recent.c.id)
        .outerjoin(Variant, Variant.id == recent.c.variant_id)
        .where(recent.c.artifact_sha256.is_not(None))
        .group_by(recent.c.artifact_sha256)
    )
    found = [MeasuredArtifact(sha256, name or sha256[:12], n, at) for sha256, n, at, name in session.execute(query)]
    return sorted(found, key=lambda one: (-one.n_runs, one.name))


def _recent(device_id: str) -> Select[str, str | None, datetime | None, str | None]:
    query = select(Run.id, Run.artifact_sha256, Run.finished_at, Run.variant_id)
    query = query.where(Run.device_id == device_id, Run.finished_at.is_not(None), Run.kind == "measure")
    return query.order_by(Run.finished_at.desc()).limit(MAX_RUNS)


def history_of(session: Session, device_id: str, artifact_sha256: str) -> list[HistoryPoint]:
    """The artifact's runs on the device, oldest first, the last ``MAX_RUNS`` of the device's."""
    recent = _recent(device_id).subquery()
    latency = Result.report["latency_ms"]
    query = (
        select(
            Result.run_id,
            recent.c.finished_at,
            Result.verdict,
            Result.provenance,
            Result.latency_p50_ms,
            latency["launch_intervals"]["p50"],
            latency["intervals"]["p50"],
            Result.energy_mj,
            Result.report["energy"]["expanded_uncertainty_mj"],
        )
        .join(recent, recent.c.id == Result.run_id)
        .where(recent.c.artifact_sha256 == artifact_sha256)
        .order_by(recent.c.finished_at)
    )
    return [
        HistoryPoint(run_id, at, verdict, provenance, p50, _interval(over_launches or of_samples), energy, uncertainty)
        for run_id, at, verdict, provenance, p50, over_launches, of_samples, energy, uncertainty in session.execute(
            query
        )
    ]


def _interval(stored: list[float] | None) -> tuple[float, float] | None:
    return (stored[0], stored[1]) if stored else None


@dataclass(frozen=True)
class ChangePoint:
    """Where a figure of an artifact changed on a device. ratio: after over before."""

    figure: str
    at: datetime
    ratio: float
    direction: str


def changes_of(session: Session, device_id: str, artifact_sha256: str) -> list[ChangePoint]:
    """The changes that were found in the artifact's history on the device, oldest first."""
    query = (
        select(Regression.figure, Run.finished_at, Regression.ratio, Regression.direction)
        .join(Run, Run.id == Regression.changed_run_id)
        .where(Regression.device_id == device_id, Regression.artifact_sha256 == artifact_sha256)
        .order_by(Run.finished_at)
    )
    return [ChangePoint(figure, at, ratio, way) for figure, at, ratio, way in session.execute(query) if at is not None]
