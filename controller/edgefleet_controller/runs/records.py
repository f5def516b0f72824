"""What the store keeps of an accepted report; pure but for the clock of the session."""

from typing import Any

from sqlalchemy.orm import Session

from edgefleet_agent.statistics import LatencyFigures
from edgefleet_agent.wire.reasons import Reason
from edgefleet_agent.wire.report import RunReport
from edgefleet_controller.db.database import now_of
from edgefleet_controller.db.tables import ComparisonResult, Run
from edgefleet_controller.runs.held import HeldRun
from edgefleet_controller.runs.verification import BLOCKS, LATENCY_SAMPLES


def result_of(
    session: Session,
    run: Run | HeldRun,
    report: RunReport,
    report_sha256: str,
    figures: LatencyFigures | None,
    document: dict[str, Any],
) -> dict[str, Any]:
    """The row of ``results``: the report with the figures that lists are made of; ``document`` is the report as JSON values."""
    energy = report.energy
    samples = report.samples.get(BLOCKS if report.is_comparison else LATENCY_SAMPLES)
    energy_mj = energy.value_mj if energy is not None else None
    reason = energy.reason if energy is not None and energy.reason is not None else Reason.NOT_MEASURED
    percentiles = figures.percentiles if figures is not None else {}
    return {
        "run_id": run.id,
        "attempt": run.attempt,
        "job_id": run.job_id,
        "report": document,
        "report_sha256": report_sha256,
        "samples_sha256": samples.sha256 if samples is not None else None,
        "provenance": report.provenance.value,
        "verdict": report.verdict.status.value,
        "latency_n": figures.n if figures is not None else None,
        "latency_p50_ms": percentiles.get("p50"),
        "latency_p90_ms": percentiles.get("p90"),
        "latency_p99_ms": percentiles.get("p99"),
        "peak_memory_bytes": report.memory.peak_memory_bytes if report.memory is not None else None,
        "accuracy": report.accuracy.value if report.accuracy is not None else None,
        "energy_mj": energy_mj,
        "energy_reason": reason.value if energy_mj is None else None,
        "energy_scope": energy.scope if energy is not None else None,
        "created_at": now_of(session),
    }


def comparison_result_of(run: HeldRun, report: RunReport) -> ComparisonResult | None:
    """The figures of an A/B or A/A run; None for other runs and for failed ones."""
    if run.comparison_id is None:
        return None
    if report.comparison is not None:
        found = report.comparison
        return ComparisonResult(
            run_id=run.id,
            comparison_id=run.comparison_id,
            kind="ab",
            ratio=found.ratio,
            ratio_low=found.interval[0],
            ratio_high=found.interval[1],
            confidence=found.confidence,
            outcome=found.outcome.value,
            n_pairs=found.n_pairs,
        )
    if report.false_positives is not None:
        rate = report.false_positives
        return ComparisonResult(
            run_id=run.id,
            comparison_id=run.comparison_id,
            kind="aa",
            n_comparisons=rate.n_comparisons,
            n_false_positives=rate.n_false_positives,
            share_low=rate.interval[0],
            share_high=rate.interval[1],
        )
    return None
