"""The report of an imported profile, in the form that boards' reports have; what another tool does not say is null."""

from collections.abc import Mapping
from typing import Any

from edgefleet_agent.statistics import LatencyFigures, summarize_latency
from edgefleet_agent.wire.base import REPORT_VERSION
from edgefleet_agent.wire.reasons import Provenance, Reason, VerdictStatus
from edgefleet_agent.wire.report import AccuracySummary, BlobRef, EnergySummary, LatencySummary, MemorySummary
from edgefleet_controller.imports.profile import PERCENTILES, Profile

JsonObject = dict[str, Any]


def figures_of(profile: Profile) -> LatencyFigures:
    """Latency in ms: of single latencies by the rules of one's own runs, else what the tool says, without intervals."""
    if profile.latency_ns is not None:
        return summarize_latency(profile.latency_ns)
    percentiles = {name: profile.percentiles_ms.get(name) for name in PERCENTILES}
    return LatencyFigures(profile.n, percentiles, {}, None, None, None, 0.99, 0)


def verdict_of(profile: Profile) -> VerdictStatus:
    """Suspect: nobody here saw the conditions; invalid where the tool says so itself."""
    return VerdictStatus.INVALID if profile.is_invalid else VerdictStatus.SUSPECT


def report_of(
    profile: Profile,
    figures: LatencyFigures,
    settings: Mapping[str, Any],
    samples: BlobRef | None,
    accuracy: float | None,
) -> JsonObject:
    """The document that the store keeps; there is no artifact, because the measured file is not here."""
    return {
        "report_version": REPORT_VERSION,
        "agent_version": profile.tool,
        "provenance": Provenance.IMPORTED.value,
        "artifact": None,
        "error": None,
        "load": None,
        "latency_ms": _latency(figures, settings["batch"]).model_dump(mode="json"),
        "memory": _MEMORY.model_dump(mode="json"),
        "accuracy": _accuracy(accuracy).model_dump(mode="json"),
        "energy": EnergySummary(value_mj=None, reason=Reason.NOT_MEASURED).model_dump(mode="json"),
        "environment": {
            "host": {},
            "before": {},
            "after": {},
            "runtime": {"tool": profile.tool, **profile.facts},
            "settings": dict(settings),
            "counters": {},
        },
        "samples": {} if samples is None else {"latency": samples.model_dump()},
        "verdict": {"status": verdict_of(profile).value, "reasons": [Reason.IMPORTED.value]},
    }


_MEMORY = MemorySummary(
    after_import_bytes=None,
    after_load_bytes=None,
    peak_load_bytes=None,
    peak_run_bytes=None,
    peak_memory_bytes=None,
    reason=Reason.NOT_MEASURED,
)


def _latency(figures: LatencyFigures, batch: int) -> LatencySummary:
    mean_s = figures.mean / 1e3 if figures.mean else None
    return LatencySummary(
        n=figures.n,
        p50=figures.percentiles.get("p50"),
        p90=figures.percentiles.get("p90"),
        p99=figures.percentiles.get("p99"),
        mean=figures.mean,
        minimum=figures.minimum,
        maximum=figures.maximum,
        confidence=figures.confidence,
        intervals=figures.intervals,
        reasons=dict.fromkeys(figures.too_few, Reason.TOO_FEW_SAMPLES),
        n_outliers=figures.n_outliers,
        throughput_per_s=batch / mean_s if mean_s else None,
    )


def _accuracy(value: float | None) -> AccuracySummary:
    return AccuracySummary(value=value, reason=Reason.NOT_MEASURED if value is None else None)
