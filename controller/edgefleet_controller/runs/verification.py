"""Checks a report against the order, the device and the raw samples it names."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NoReturn

import numpy as np

from edgefleet_agent.statistics import LatencyFigures, summarize_latency, wilson_interval
from edgefleet_agent.wire.comparison import FalsePositives
from edgefleet_agent.wire.reasons import Provenance
from edgefleet_agent.wire.report import LatencySummary, RunReport
from edgefleet_agent.wire.samples import SamplesInvalid as UnreadableSamples
from edgefleet_agent.wire.samples import decode_arrays, decode_samples
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.runs import errors

PROVENANCE_OF_KIND: Mapping[str, Provenance] = MappingProxyType(
    {
        "physical": Provenance.MEASURED,
        "simulated": Provenance.SIMULATED,
        "emulated": Provenance.EMULATED,
        "replay": Provenance.REPLAYED,
    }
)
"""The provenance that a device of each kind reports."""

LATENCY_SAMPLES = "latency"
BLOCKS = "blocks"
BLOCK_COLUMNS = ("comparison", "side", "start_ns", "n", "p50_ns")
LATENCY_COLUMN = "latency_ns"
RELATIVE_TOLERANCE = 1e-6
"""Both sides compute doubles from the same integers; what differs beyond rounding was computed from other samples."""


def require_provenance(device_kind: str, report: RunReport) -> None:
    """ProvenanceMismatch unless the report has the provenance of the device's kind.

    A physical device whose power was played back, or came from a simulated sensor, must say so of the run as a whole.
    """
    expected = PROVENANCE_OF_KIND[device_kind]
    sensor = (report.energy.sensor or {}) if report.energy is not None else {}
    of_sensor = sensor.get("provenance", Provenance.MEASURED.value)
    if expected is Provenance.MEASURED and of_sensor in (Provenance.REPLAYED.value, Provenance.SIMULATED.value):
        expected = Provenance(of_sensor)
    if report.provenance is not expected:
        raise errors.ProvenanceMismatch(
            f"A {device_kind} device with a power sensor of provenance {of_sensor} reports {expected.value} figures; "
            f"this report says {report.provenance.value}."
        )


def require_ordered_artifact(order: Mapping[str, object], report: RunReport) -> None:
    """ArtifactMismatch unless the report is about the file that was ordered."""
    artifact = order.get("artifact")
    ordered = artifact.get("sha256") if isinstance(artifact, dict) else None
    if report.artifact.sha256 != ordered:
        raise errors.ArtifactMismatch(
            f"The order was to measure {ordered}; the report is about {report.artifact.sha256}."
        )


def require_ordered_kind(order: Mapping[str, object], report: RunReport) -> None:
    """ReportRefused unless the report answers the kind of run that was ordered; a failed run has no figures to check."""
    if report.error is not None:
        return
    kind, second = order.get("kind", "measure"), order.get("second")
    answered = "ab" if report.comparison is not None else "aa" if report.false_positives is not None else "measure"
    if answered != kind:
        raise errors.ReportRefused(f"The order was of kind {kind}; the report answers one of kind {answered}.")
    ordered = second["artifact"]["sha256"] if isinstance(second, dict) else None
    reported = report.second.sha256 if report.second is not None else None
    if reported != ordered:
        raise errors.ArtifactMismatch(f"The order was to compare with {ordered}; the report compared with {reported}.")
    if report.false_positives is not None:
        _require_ordered_count(order, report.false_positives)


def _require_ordered_count(order: Mapping[str, object], rate: FalsePositives) -> None:
    plan = order.get("comparison")
    ordered = plan.get("n_comparisons") if isinstance(plan, dict) else None
    if rate.n_comparisons != ordered:
        raise errors.ReportRefused(f"The order asked for {ordered} comparisons; the report has {rate.n_comparisons}.")
    expected = wilson_interval(rate.n_false_positives, rate.n_comparisons, confidence=0.95)
    for stated, computed in zip(rate.interval, expected or (), strict=True):
        _compare_figure("false_positives.interval", stated, computed)


def require_blocks(report: RunReport, blobs: BlobStore) -> None:
    """SamplesInvalid or SamplesDisagree unless the blocks that a comparison rests on are there, whole and as many."""
    ref = report.samples.get(BLOCKS)
    if ref is None:
        raise errors.SamplesInvalid("The report compares artifacts but names no blocks.")
    with blobs.open(ref.sha256) as file:
        columns = _columns(file.read(), "blocks")
    missing = [name for name in BLOCK_COLUMNS if name not in columns]
    if missing or any(value <= 0 for name in ("n", "p50_ns") for value in columns[name]):
        raise errors.SamplesInvalid(f"The blocks need columns {', '.join(BLOCK_COLUMNS)}, with n and p50_ns above 0.")
    n_comparisons = report.false_positives.n_comparisons if report.false_positives is not None else 1
    if set(columns["comparison"]) != set(range(n_comparisons)):
        _disagree("n_comparisons", n_comparisons, len(set(columns["comparison"])))
    sides = [columns["side"].count(side) for side in (0, 1)]
    n_pairs = report.comparison.n_pairs if report.comparison is not None else sides[0]
    if sides != [n_pairs, n_pairs] or sum(sides) != len(columns["side"]):
        _disagree("n_pairs", n_pairs, min(sides))


def require_uploaded_samples(report: RunReport, blobs: BlobStore, *, but: str | None = None) -> None:
    """SamplesMissing unless every raw file that the report names, ``but`` one, is in the store."""
    missing = sorted(name for name, ref in report.samples.items() if name != but and not blobs.exists(ref.sha256))
    if missing:
        raise errors.SamplesMissing(f"Upload the samples {', '.join(missing)}, then report again.", missing=missing)


def recompute_latency(report: RunReport, blobs: BlobStore) -> LatencyFigures | None:
    """The latency figures by the controller's own computation; None for a failed run without figures.

    Raises SamplesInvalid, or SamplesDisagree where the report says something else.
    """
    if report.latency_ms is None:
        return None
    ref = report.samples.get(LATENCY_SAMPLES)
    if ref is None:
        raise errors.SamplesInvalid("The report has latency figures but names no raw latency samples.")
    with blobs.open(ref.sha256) as file:
        figures = _summarize(file.read(), report.latency_ms.confidence)
    _compare(report.latency_ms, figures)
    return figures


def _columns(blob: bytes, what: str) -> dict[str, list[int]]:
    try:
        return decode_samples(blob)[1]
    except UnreadableSamples as err:
        raise errors.SamplesInvalid(f"The {what} cannot be read: {err}.") from err


def _summarize(blob: bytes, confidence: float) -> LatencyFigures:
    try:
        packed = decode_arrays(blob)[1].get(LATENCY_COLUMN)
    except UnreadableSamples as err:
        raise errors.SamplesInvalid(f"The raw latency samples cannot be read: {err}.") from err
    latencies = np.asarray(packed if packed is not None else (), dtype=np.int64)
    if latencies.size == 0 or latencies.min() <= 0:
        raise errors.SamplesInvalid(f"The raw samples have no column {LATENCY_COLUMN} of positive durations.")
    if not 0 < confidence < 1:
        raise errors.SamplesInvalid(f"A confidence of {confidence} is not between 0 and 1.")
    return summarize_latency(latencies, confidence)


def _compare(reported: LatencySummary, figures: LatencyFigures) -> None:
    if reported.n != figures.n:
        _disagree("n", reported.n, figures.n)
    for name, computed in figures.percentiles.items():
        _compare_figure(name, getattr(reported, name), computed)
    for name in ("mean", "minimum", "maximum"):
        _compare_figure(name, getattr(reported, name), getattr(figures, name))
    for name in {**reported.intervals, **figures.intervals}:
        bounds = zip(_bounds(reported.intervals.get(name)), _bounds(figures.intervals.get(name)), strict=True)
        for stated, computed in bounds:
            _compare_figure(f"intervals.{name}", stated, computed)


def _bounds(interval: tuple[float, float] | None) -> tuple[float | None, float | None]:
    return interval if interval is not None else (None, None)


def _compare_figure(name: str, reported: float | None, computed: float | None) -> None:
    if reported is None and computed is None:
        return
    if reported is None or computed is None or not math.isclose(reported, computed, rel_tol=RELATIVE_TOLERANCE):
        _disagree(name, reported, computed)


def _disagree(name: str, reported: float | None, computed: float | None) -> NoReturn:
    raise errors.SamplesDisagree(
        f"The report says {name} = {reported}; the raw samples give {computed}.",
        figure=name,
        reported=reported,
        computed=computed,
    )
