"""Makes the rows of a job's table out of its records; pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgefleet_controller.jobs.sweep import differing_fields
from edgefleet_controller.results.checks import checks_of
from edgefleet_controller.results.front import Direction, find_front
from edgefleet_controller.results.metrics import metrics_of
from edgefleet_controller.results.repository import VariantRecord
from edgefleet_controller.results.schemas import AcrossTargets, EnergyRow, LatencyRow, VariantRow, VerdictRow

JsonObject = dict[str, Any]
TRUSTED = ("valid", "suspect")
EMULATED = "emulated"
INTERVAL_CONFIDENCE = 0.99
"""Of the percentiles of a report that names none: the default of ``wire.report.LatencySummary``."""
"""Provenance whose times, memory and energy are those of an emulator: they stay in the store and are shown nowhere."""


def make_rows(records: Sequence[VariantRecord], *, metric: str = "top1") -> list[VariantRow]:
    """Rows with ratios to the baseline (the recipe without passes) of the same target, device and settings, and to that of
    the job's first target; the front.
    """
    swept = differing_fields([_settings(record) for record in records if record.run is not None])
    rows = [_plain_row(record, swept, metric) for record in records]
    baselines = {
        (row.target, row.device_id, row.settings_ordinal): row
        for record, row in zip(records, rows, strict=True)
        if not record.variant.recipe.get("passes")
    }
    first_target = rows[0].target if rows else ""
    related = [
        _relate(
            row,
            baselines.get((row.target, row.device_id, row.settings_ordinal)),
            baselines.get((first_target, row.device_id, row.settings_ordinal)),
        )
        for row in rows
    ]
    on_front = _front_rows(related)
    return [row.model_copy(update={"on_front": index in on_front}) for index, row in enumerate(related)]


def _settings(record: VariantRecord) -> JsonObject:
    settings: JsonObject = record.run.order.get("settings") or {} if record.run is not None else {}
    return settings


def _plain_row(record: VariantRecord, swept: Sequence[str], metric: str) -> VariantRow:
    variant, artifact, run = record.variant, record.artifact, record.run
    report = _figures(record)
    accuracy = report.get("accuracy") or {}
    host = artifact.accuracy_host if artifact is not None else {}
    return VariantRow(
        name=variant.name,
        recipe=str(variant.recipe.get("name", variant.name)),
        recipe_sha256=variant.recipe_sha256,
        target=variant.target,
        variant_id=variant.id,
        variant_state=variant.state,
        device_id=run.device_id if run is not None else None,
        device_name=record.device.name if record.device is not None else None,
        run_id=run.id if run is not None else None,
        run_state=run.state if run is not None else None,
        settings_ordinal=run.settings_ordinal if run is not None else None,
        settings={name: _settings(record).get(name) for name in swept} if run is not None else {},
        batch=_settings(record).get("batch", 1) if run is not None else None,
        attempt=run.attempt if run is not None else None,
        provenance=record.result.provenance if report and record.result is not None else None,
        artifact_sha256=artifact.sha256 if artifact is not None else None,
        size_bytes=artifact.size_bytes if artifact is not None else None,
        reference=None,
        across_targets=None,
        size_ratio=None,
        samples_sha256=record.result.samples_sha256 if record.result is not None else None,
        notes=list(artifact.manifest.get("notes", [])) if artifact is not None else [],
        compression_cached=variant.compression_cached,
        accuracy_device=accuracy.get("value"),
        accuracy_host=host.get("value"),
        accuracy_metric=accuracy.get("metric") or host.get("metric"),
        accuracy_n=accuracy.get("n"),
        accuracy_interval=accuracy.get("interval"),
        accuracy_reason=accuracy.get("reason"),
        retention=None,
        **dict(checks_of(record.result)),
        **dict(metrics_of(metric, accuracy, artifact, record.result)),
        latency_ms=_latency(record) if report else None,
        speedup_p50=None,
        peak_memory_bytes=None if _is_emulated(record) else (report.get("memory") or {}).get("peak_memory_bytes"),
        energy=_energy(record, report),
        verdict=_verdict(record),
        on_front=False,
        error=_error(record),
    )


def _figures(record: VariantRecord) -> Mapping[str, Any]:
    """The report of a run that was measured; empty otherwise."""
    is_measured = record.result is not None and record.run is not None and record.run.state == "completed"
    return record.result.report if is_measured and record.result is not None else {}


def _is_emulated(record: VariantRecord) -> bool:
    return record.result is not None and record.result.provenance == EMULATED


def _latency(record: VariantRecord) -> LatencyRow | None:
    result = record.result
    reported = _figures(record).get("latency_ms")
    if result is None or result.latency_n is None or reported is None or _is_emulated(record):
        return None
    return LatencyRow(
        p50=result.latency_p50_ms,
        p90=result.latency_p90_ms,
        p99=result.latency_p99_ms,
        n=result.latency_n,
        throughput_per_s=reported.get("throughput_per_s"),
        intervals=reported.get("intervals", {}),
        confidence=reported.get("confidence", INTERVAL_CONFIDENCE),
        launch_intervals=reported.get("launch_intervals", {}),
        reasons=reported.get("reasons", {}),
    )


def _energy(record: VariantRecord, report: Mapping[str, Any]) -> EnergyRow:
    result = record.result
    if not report or result is None:
        return EnergyRow(value_mj=None, scope=None, reason="not_measured")
    if _is_emulated(record):
        return EnergyRow(value_mj=None, scope=None, reason=EMULATED)
    return EnergyRow(
        value_mj=result.energy_mj,
        expanded_uncertainty_mj=(report.get("energy") or {}).get("expanded_uncertainty_mj"),
        scope=result.energy_scope,
        reason=result.energy_reason,
    )


def _verdict(record: VariantRecord) -> VerdictRow:
    error = _error(record)
    if error is not None:
        return VerdictRow(status="invalid", reasons=[str(error.get("code", "internal"))])
    if record.variant.state == "cancelled" or (record.run is not None and record.run.state == "cancelled"):
        return VerdictRow(status="invalid", reasons=["cancelled"])
    report = _figures(record)
    if not report:
        return VerdictRow(status="pending", reasons=[])
    return VerdictRow.model_validate({key: report["verdict"][key] for key in ("status", "reasons")})


def _error(record: VariantRecord) -> JsonObject | None:
    if record.run is not None:
        return record.run.error
    return record.variant.error


def _relate(row: VariantRow, baseline: VariantRow | None, job_baseline: VariantRow | None) -> VariantRow:
    across = None
    if job_baseline is not None:
        across = AcrossTargets(
            reference=job_baseline.name, reference_target=job_baseline.target, **_ratios(row, job_baseline)
        )
    if baseline is None:
        return row.model_copy(update={"across_targets": across})
    return row.model_copy(update={"reference": baseline.name, "across_targets": across, **_ratios(row, baseline)})


def _ratios(row: VariantRow, baseline: VariantRow) -> dict[str, float | None]:
    # a latency that is invalid is shown with its verdict, but nothing is derived from it
    is_comparable = row.verdict.status in TRUSTED and baseline.verdict.status in TRUSTED
    p50, baseline_p50 = (_p50(row), _p50(baseline)) if is_comparable else (None, None)
    return {
        "size_ratio": _ratio(baseline.size_bytes, row.size_bytes),
        "retention": _ratio(row.accuracy_device, baseline.accuracy_device),
        "speedup_p50": _ratio(baseline_p50, p50),
    }


def _ratio(numerator: float | None, denominator: float | None) -> float | None:
    if numerator is None or denominator is None or denominator == 0:
        return None
    return numerator / denominator


def _p50(row: VariantRow) -> float | None:
    return row.latency_ms.p50 if row.latency_ms is not None else None


def _front_rows(rows: Sequence[VariantRow]) -> set[int]:
    """Indices of the rows that no other measured row of their device and batch beats in p50 and accuracy."""
    by_device: dict[tuple[str, int | None], list[tuple[int, list[float]]]] = {}
    for index, row in enumerate(rows):
        p50 = _p50(row)
        is_result = row.provenance == "measured" and row.verdict.status in TRUSTED
        if is_result and row.device_id is not None and p50 is not None and row.accuracy_device is not None:
            # the latency of a call with eight samples is not beaten by that of a call with one
            by_device.setdefault((row.device_id, row.batch), []).append((index, [p50, row.accuracy_device]))
    found: set[int] = set()
    for members in by_device.values():
        reliable = [rows[index].verdict.status == "valid" for index, _ in members]
        flags = find_front([figures for _, figures in members], [Direction.MINIMISE, Direction.MAXIMISE], reliable)
        found |= {index for (index, _), flag in zip(members, flags, strict=True) if flag}
    return found
