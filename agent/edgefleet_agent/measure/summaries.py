"""From the runner's figures to the report's sections."""

from typing import Any, Optional

from edgefleet_agent.statistics import summarize_latency, wilson_interval
from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.reasons import Reason
from edgefleet_agent.wire.report import AccuracySummary, LatencySummary, LoadTimes, MemorySummary


def latency_summary(latency_ns: Any) -> LatencySummary:
    """Percentiles of the timed inferences; those without enough samples are null with the reason."""
    figures = summarize_latency(latency_ns)
    return LatencySummary(
        n=figures.n,
        p50=figures.percentiles["p50"],
        p90=figures.percentiles["p90"],
        p99=figures.percentiles["p99"],
        mean=figures.mean,
        minimum=figures.minimum,
        maximum=figures.maximum,
        confidence=figures.confidence,
        intervals=figures.intervals,
        reasons=dict.fromkeys(figures.too_few, Reason.TOO_FEW_SAMPLES),
        n_outliers=figures.n_outliers,
    )


def load_times(figures: JsonObject, n_warmup: int, warmup_ms: float) -> LoadTimes:
    """Loading, first inference and warm-up."""
    return LoadTimes(
        load_ms=figures["load_ms"],
        first_inference_ms=figures["first_inference_ms"],
        n_warmup=n_warmup,
        warmup_ms=warmup_ms,
    )


def memory_summary(figures: JsonObject) -> MemorySummary:
    """Memory by phase; peaks are null where the kernel does not let the runner reset them."""
    peaks = [figures["peak_load_bytes"], figures["peak_run_bytes"]]
    known = [value for value in peaks if value is not None]
    return MemorySummary(
        after_import_bytes=figures["after_import_bytes"],
        after_load_bytes=figures["after_load_bytes"],
        peak_load_bytes=peaks[0],
        peak_run_bytes=peaks[1],
        peak_memory_bytes=max(known) if len(known) == len(peaks) else None,
        pss_bytes=figures["pss_bytes"],
        reason=None if len(known) == len(peaks) else Reason.NOT_READABLE,
    )


def accuracy_summary(figures: Optional[JsonObject]) -> AccuracySummary:
    """Top-1 share of the evaluation set, or null with the reason."""
    if figures is None:
        return AccuracySummary(value=None, reason=Reason.NO_EVALUATION_DATA)
    n, n_correct = figures["n"], figures.get("n_correct")
    if n_correct is None:
        reason = Reason.NOT_MEASURED if figures["has_labels"] else Reason.NO_LABELS
        return AccuracySummary(value=None, n=n, reason=reason)
    return AccuracySummary(
        value=n_correct / n, n=n, n_correct=n_correct, interval=wilson_interval(n_correct, n, confidence=0.95)
    )
