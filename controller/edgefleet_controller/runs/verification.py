"""Checks a report against the order, the device and the raw samples it names."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NoReturn

from edgefleet_agent.statistics import LatencyFigures, summarize_latency
from edgefleet_agent.wire.reasons import Provenance
from edgefleet_agent.wire.report import LatencySummary, RunReport
from edgefleet_agent.wire.samples import SamplesInvalid as UnreadableSamples
from edgefleet_agent.wire.samples import decode_samples
from edgefleet_controller import errors
from edgefleet_controller.blobs.store import BlobStore

PROVENANCE_OF_KIND: Mapping[str, Provenance] = MappingProxyType(
    {
        "physical": Provenance.MEASURED,
        "simulated": Provenance.SIMULATED,
        "emulated": Provenance.EMULATED,
        "replay": Provenance.REPLAYED,
    }
)
"""The only provenance that a device of each kind may report."""

LATENCY_SAMPLES = "latency"
LATENCY_COLUMN = "latency_ns"
RELATIVE_TOLERANCE = 1e-6
"""Both sides compute doubles from the same integers; what differs beyond rounding was computed from other samples."""


def require_provenance(device_kind: str, report: RunReport) -> None:
    """ProvenanceMismatch unless the report has the provenance of the device's kind."""
    expected = PROVENANCE_OF_KIND[device_kind]
    if report.provenance is not expected:
        raise errors.ProvenanceMismatch(
            f"A {device_kind} device reports {expected.value} figures; this report says {report.provenance.value}."
        )


def require_ordered_artifact(order: Mapping[str, object], report: RunReport) -> None:
    """ArtifactMismatch unless the report is about the file that was ordered."""
    artifact = order.get("artifact")
    ordered = artifact.get("sha256") if isinstance(artifact, dict) else None
    if report.artifact.sha256 != ordered:
        raise errors.ArtifactMismatch(
            f"The order was to measure {ordered}; the report is about {report.artifact.sha256}."
        )


def require_uploaded_samples(report: RunReport, blobs: BlobStore) -> None:
    """SamplesMissing unless every raw file that the report names is in the store."""
    missing = sorted(name for name, ref in report.samples.items() if not blobs.exists(ref.sha256))
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


def _summarize(blob: bytes, confidence: float) -> LatencyFigures:
    try:
        _, columns = decode_samples(blob)
    except UnreadableSamples as err:
        raise errors.SamplesInvalid(f"The raw latency samples cannot be read: {err}.") from err
    latencies = columns.get(LATENCY_COLUMN)
    if latencies is None or any(value <= 0 for value in latencies):
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
