"""Latency, memory and speed-up, measured by the agent as on a device: one thread, batch 1, the runtime's own defaults."""

from pathlib import Path
from typing import Final

from tests.benchmarks.compression_rows.row import Timing

from edgefleet_agent.cli.bench import hash_file
from edgefleet_agent.measure.artifact import measure_artifact
from edgefleet_agent.measure.paired import BlockPlan, compare_artifacts, with_deadline
from edgefleet_agent.measure.subject import Bench, Subject
from edgefleet_agent.wire.messages import MeasureSettings

SETTINGS: Final = MeasureSettings(threads=1, seconds=0.5, min_samples=100, max_seconds=5.0, warmup_seconds=0.3)
PLAN: Final = BlockPlan(n_pairs=100, max_seconds=12.0)
"""Interleaved blocks of 20 ms: what disturbs the host meets both files alike."""


def measure(path: Path, baseline: Path, runtime: str) -> Timing:
    """Return what the agent finds; speed-up: p50 of the baseline's file over this one's, in turns on this host."""
    mine, theirs = subject(path, runtime), subject(baseline, runtime)
    report = measure_artifact(mine, Bench()).report
    compared = compare_artifacts(with_deadline(theirs, PLAN), with_deadline(mine, PLAN), PLAN, Bench())
    low, high = compared.interval
    if report.latency_ms is None or report.latency_ms.p50 is None:
        raise ValueError(f"{path} gave no median latency: {report.verdict}")
    return Timing(
        p50_ms=report.latency_ms.p50,
        peak_memory_bytes=report.memory.peak_memory_bytes if report.memory else None,
        speedup=1.0 / compared.ratio,
        interval=(1.0 / high, 1.0 / low),
        outcome=compared.outcome.value,
        verdict=" ".join([compared.verdict.status.value, *(reason.value for reason in compared.verdict.reasons)]),
        load_average_1m=compared.before.load_average_1m,
    )


def subject(path: Path, runtime: str) -> Subject:
    """Return the file as the agent takes it."""
    return Subject(path=path, artifact=hash_file(path), runtime=runtime, settings=SETTINGS)
