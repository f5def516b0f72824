"""From the runner's figures to the report's sections."""

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from edgefleet_agent.measure.launch import LATENCY_ROW, START_ROW, Launch
from edgefleet_agent.measure.outliers import Causes
from edgefleet_agent.statistics import launch_interval, median, summarize_latency, wilson_interval
from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.reasons import Reason
from edgefleet_agent.wire.report import AccuracySummary, LatencySummary, LoadTimes, MemorySummary

LAUNCH_FIGURES = ("p50", "mean")
"""Figures with an interval over launches; tails of a launch are too uncertain to tell launches apart."""


def latency_summary(launches: Sequence[Launch], causes: Causes) -> LatencySummary:
    """Percentiles of the timed inferences of all launches; those without enough samples are null with the reason."""
    series = [launch.timed[LATENCY_ROW] for launch in launches]
    figures = summarize_latency(np.concatenate(series))
    several = len(series) > 1 and all(values.size for values in series)
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
        outlier_causes=causes.outliers,
        throughput_per_s=_throughput_per_s(launches),
        n_launches=len(launches),
        launch_p50_ms=[median(values.astype(np.float64)) / 1e6 for values in series if values.size],
        launch_intervals={name: _launch_interval_ms(series, name) for name in LAUNCH_FIGURES} if several else {},
    )


def _launch_interval_ms(series: Sequence[Any], figure: str) -> tuple[float, float]:
    estimate = launch_interval(series, figure)
    return estimate.low / 1e6, estimate.high / 1e6


def _throughput_per_s(launches: Sequence[Launch]) -> Optional[float]:
    """Samples per second from the first start to the last end of each launch."""
    timed = [launch.timed for launch in launches if launch.timed.shape[1]]
    span_ns = sum(int(rows[START_ROW, -1] + rows[LATENCY_ROW, -1] - rows[START_ROW, 0]) for rows in timed)
    n_samples = sum(rows.shape[1] for rows in timed) * int(launches[0].figures["batch"])
    return n_samples / (span_ns / 1e9) if span_ns > 0 else None


def load_times(figures: JsonObject, n_warmup: int, warmup_ms: float, engine: Optional[JsonObject]) -> LoadTimes:
    """Loading, first inference and warm-up, and the engine where the runtime builds one."""
    built = engine or {}
    return LoadTimes(
        load_ms=figures["load_ms"],
        first_inference_ms=figures["first_inference_ms"],
        n_warmup=n_warmup,
        warmup_ms=warmup_ms,
        import_ms=figures["import_ms"],
        warm_load_ms=figures["warm_load_ms"],
        build_ms=built.get("build_ms"),
        engine_cached=built.get("cached"),
        caches=figures["caches"],
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
    chosen = {name: figures[name] for name in ("n_available", "sampling")}
    if n_correct is None:
        reason = Reason.NOT_MEASURED if figures["has_labels"] else Reason.NO_LABELS
        return AccuracySummary(value=None, n=n, reason=reason, **chosen)
    return AccuracySummary(
        value=n_correct / n, n=n, n_correct=n_correct, interval=wilson_interval(n_correct, n, confidence=0.95), **chosen
    )
