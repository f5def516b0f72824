"""What a job of a study says about its trial: each run's figures, and the values that the search goes by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from sqlalchemy.orm import Session

from edgefleet_compression.search.estimates import Estimate, ratio_of
from edgefleet_compression.search.objectives import Metric
from edgefleet_controller.db.tables import Compression, Job
from edgefleet_controller.jobs import repository as jobs
from edgefleet_controller.results.figures import FIGURES
from edgefleet_controller.results.rows import TRUSTED
from edgefleet_controller.results.schemas import VariantRow
from edgefleet_controller.results.service import variant_rows

JsonObject = dict[str, Any]
AccuracySource = Literal["validation", "device"]

READ: Mapping[Metric, str] = MappingProxyType(
    {
        "latency_p50_ms": "latency_p50_ms",
        "latency_p90_ms": "latency_p90_ms",
        "size_bytes": "size_bytes",
        "energy_mj": "energy_mj",
        "peak_memory_bytes": "peak_memory_bytes",
        "accuracy": "accuracy",
    }
)
"""Metric of a search -> figure of a result."""


@dataclass(frozen=True)
class Outcome:
    """values: what the search goes by; measurements: each run as JSON; cause: why there are no values."""

    values: Mapping[Metric, Estimate]
    measurements: Sequence[JsonObject]
    cause: JsonObject | None


def outcome_of(session: Session, job: Job, accuracy_from: AccuracySource) -> Outcome:
    """The outcome of an ended job of one variant. Of several runs the first that may be relied on gives the values.

    accuracy_from: validation, what the recipe left on the validation split, so that the test split on the devices is kept
    for the report; device, where there is no such figure.
    """
    rows = variant_rows(session, job.id)
    measurements = [measurement_of(row) for row in rows if row.run_id is not None]
    trusted = [row for row in rows if row.verdict.status in TRUSTED]
    if not trusted:
        return Outcome({}, measurements, _cause(job, rows))
    values = values_of(trusted[0])
    validated = validation_accuracy(session, job) if accuracy_from == "validation" else None
    if accuracy_from == "validation":
        values.pop("accuracy", None)
        values |= {} if validated is None else {"accuracy": Estimate(validated)}
    return Outcome(values, measurements, None)


def values_of(row: VariantRow) -> dict[Metric, Estimate]:
    """The row's figures by the search's names; what it lacks, or what is no number, is left out."""
    found = {metric: _read(row, figure) for metric, figure in READ.items()}
    return {metric: value for metric, value in found.items() if value is not None}


def _read(row: VariantRow, figure: str) -> Estimate | None:
    try:
        return FIGURES[figure].read(row)
    except ValueError:  # an estimate is never made of what is no number; the trial then fails with objective_unknown
        return None


def with_retention(values: Mapping[Metric, Estimate], baseline_accuracy: float | None) -> dict[Metric, Estimate]:
    """The values with the accuracy over the baseline's, which is taken as it is: it is the same for all trials."""
    found = dict(values)
    if baseline_accuracy and "accuracy" in found:
        found["retention"] = ratio_of(found["accuracy"], Estimate(baseline_accuracy))
    return found


def validation_accuracy(session: Session, job: Job) -> float | None:
    """Top-1 of the job's candidate on the validation split; None for a graph, or without labels."""
    for variant in jobs.variants_of(session, job.id):
        made = session.get(Compression, variant.compression_key) if variant.compression_key is not None else None
        metrics = (made.result.get("metrics_validation") if made is not None else None) or {}
        if metrics.get("top1") is not None:
            return float(metrics["top1"])
    return None


def measurement_of(row: VariantRow) -> JsonObject:
    """One run as the study's documents show it."""
    return {
        "run_id": row.run_id,
        "device_id": row.device_id,
        "device": row.device_name,
        "provenance": row.provenance,
        "verdict": row.verdict.model_dump(mode="json"),
        "artifact_sha256": row.artifact_sha256,
        "figures": {metric: figure_json(value) for metric, value in values_of(row).items()},
        "energy_scope": row.energy.scope,
    }


def figure_json(value: Estimate) -> JsonObject:
    """An estimate as JSON that ``figure_of`` reads."""
    return {"value": value.value, "standard_error": value.standard_error}


def figure_of(document: Mapping[str, Any]) -> Estimate:
    """The estimate that ``figure_json`` wrote."""
    return Estimate(float(document["value"]), float(document["standard_error"]))


def _cause(job: Job, rows: Sequence[VariantRow]) -> JsonObject:
    """Why no run of the job may be relied on."""
    if job.state == "cancelled":
        return {"code": "job_cancelled", "message": "Somebody cancelled the trial's job."}
    errors = [row.error for row in rows if row.error] + ([job.error] if job.error else [])
    if errors:
        return {"code": str(errors[0].get("code", "failed")), "message": str(errors[0].get("message", "it failed"))}
    reasons = sorted({reason for row in rows for reason in row.verdict.reasons})
    return {
        "code": "not_trusted",
        "message": f"No run of the trial may be relied on: {', '.join(reasons) or 'none was carried out'}.",
    }
