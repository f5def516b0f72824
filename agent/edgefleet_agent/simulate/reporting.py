"""The report of a simulated run: every figure the simulation gives, and null with a reason for all others."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Optional

import numpy as np

from edgefleet_agent.measure.artifact import Measurement, blob_ref
from edgefleet_agent.measure.meter import EnergyMeter, TimedPart
from edgefleet_agent.measure.verdict import join_verdicts, judge_energy
from edgefleet_agent.settings import AGENT_VERSION
from edgefleet_agent.simulate.board import Series, SimulatedBoard
from edgefleet_agent.simulate.parameters import load_parameters
from edgefleet_agent.statistics import SteadyOutcome, find_steady_state, summarize_latency
from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.messages import RunOrder
from edgefleet_agent.wire.reasons import Provenance, Reason, VerdictStatus
from edgefleet_agent.wire.report import (
    AccuracySummary,
    Conditions,
    Environment,
    LatencySummary,
    LoadTimes,
    MemorySummary,
    RunReport,
    Verdict,
)
from edgefleet_agent.wire.samples import encode_samples

THROTTLING = frozenset({Reason.THROTTLED_NOW, Reason.THROTTLED_STICKY})
"""They make a run invalid, as on a real board; other reasons make it suspect."""

THROTTLED_NOW_MASK, THROTTLED_STICKY_MASK = 0xF, 0xF0000
"""Bits of get_throttled (Raspberry Pi documentation)."""


@dataclass(frozen=True)
class Figures:
    """What one simulated run gave. ``notes`` go into the report's settings."""

    undisturbed_ms: float
    load_ms: float
    first_ms: float
    warmup: Series
    timed: Series
    before: Conditions
    after: Conditions
    meter: EnergyMeter
    accuracy: Optional[AccuracySummary] = None
    notes: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))


def make_report(name: str, board: SimulatedBoard, order: RunOrder, figures: Figures, part: TimedPart) -> Measurement:
    """Report and raw samples; the provenance is ``simulated``, and the parameters' version stands with the host."""
    outcome = find_steady_state(figures.timed.start_ns, figures.timed.latency_ns).outcome
    metered = [figures.meter.collect(part)]
    energy = figures.meter.summarize(metered)
    blobs = {
        "latency": _encode(figures.timed, steady_state=outcome.value),
        "warmup": _encode(figures.warmup),
        **figures.meter.blobs(metered),
    }
    report = RunReport(
        agent_version=AGENT_VERSION,
        provenance=Provenance.SIMULATED,
        artifact=order.artifact,
        load=LoadTimes(
            load_ms=figures.load_ms,
            first_inference_ms=figures.first_ms,
            n_warmup=len(figures.warmup.latency_ns),
            warmup_ms=float(figures.warmup.latency_ns.sum()) / 1e6,
        ),
        latency_ms=summarize_series(figures.timed, batch=order.settings.batch),
        memory=MemorySummary(
            after_import_bytes=None,
            after_load_bytes=None,
            peak_load_bytes=None,
            peak_run_bytes=None,
            peak_memory_bytes=None,
            reason=Reason.NOT_MEASURED,
        ),
        accuracy=figures.accuracy,
        energy=energy,
        environment=_environment(name, board, order, figures, outcome),
        verdict=join_verdicts([_verdict(outcome, figures.before, figures.after), judge_energy(energy)]),
        samples={label: blob_ref(content) for label, content in blobs.items()},
    )
    return Measurement(report, blobs)


def summarize_series(series: Series, *, batch: int = 1) -> LatencySummary:
    """Percentiles with intervals by the same statistics as measured ones."""
    figures = summarize_latency(series.latency_ns)
    span_ns = int(series.latency_ns.sum())
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
        throughput_per_s=batch * figures.n / (span_ns * 1e-9),
        launch_p50_ms=[] if figures.percentiles["p50"] is None else [figures.percentiles["p50"]],
    )


def describe_simulation(name: str, board: SimulatedBoard) -> JsonObject:
    """What belongs to every figure of a simulated board."""
    parameters = board.parameters
    return {
        "simulated": True,
        "board": name,
        "description": parameters.description,
        "parameters_sha256": load_parameters().sha256,
        "cpu_model": parameters.cpu_model,
        "n_cores": parameters.n_cores,
        "machine": parameters.machine,
        "memory_bytes": parameters.memory_bytes,
    }


def _environment(
    name: str, board: SimulatedBoard, order: RunOrder, figures: Figures, outcome: SteadyOutcome
) -> Environment:
    used = {
        # the rates were fitted to runs on all cores
        "threads_used": "all",
        "launches_used": 1,
        "undisturbed_ms": figures.undisturbed_ms,
        "steady_state": outcome.value,
        **figures.notes,
    }
    return Environment(
        host=describe_simulation(name, board),
        before=figures.before,
        after=figures.after,
        runtime={"name": order.runtime, "version": "simulated", "interpreter": None},
        settings={**order.settings.model_dump(), **used},
    )


def _verdict(outcome: SteadyOutcome, before: Conditions, after: Conditions) -> Verdict:
    reasons = []
    if outcome is SteadyOutcome.SLOWDOWN:
        reasons.append(Reason.SLOWDOWN)
    if outcome is SteadyOutcome.NO_STEADY_STATE:
        reasons.append(Reason.NO_STEADY_STATE)
    first, last = before.throttled_bits or 0, after.throttled_bits or 0
    if (first | last) & THROTTLED_NOW_MASK:
        reasons.append(Reason.THROTTLED_NOW)
    if (first ^ last) & THROTTLED_STICKY_MASK:
        reasons.append(Reason.THROTTLED_STICKY)
    if before.frequencies_khz != after.frequencies_khz:
        reasons.append(Reason.FREQUENCY_CHANGED)
    if not reasons:
        return Verdict(status=VerdictStatus.VALID)
    is_invalid = bool(THROTTLING.intersection(reasons))
    return Verdict(status=VerdictStatus.INVALID if is_invalid else VerdictStatus.SUSPECT, reasons=reasons)


def _encode(series: Series, **header: object) -> bytes:
    columns = {"start_ns": np.asarray(series.start_ns).tolist(), "latency_ns": np.asarray(series.latency_ns).tolist()}
    return encode_samples(columns, clock="virtual", **header)
