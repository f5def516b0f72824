"""Makes the documents of comparisons out of their rows; pure."""

from collections.abc import Sequence

from edgefleet_controller.comparisons.repository import ComparedRun
from edgefleet_controller.comparisons.schemas import (
    ComparedArtifact,
    ComparisonRow,
    ComparisonState,
    ComparisonVerdict,
    ComparisonView,
    FalsePositivesView,
    RatioView,
)
from edgefleet_controller.db.tables import Comparison, ComparisonResult


def make_view(comparison: Comparison, runs: Sequence[ComparedRun], *, with_conditions: bool = True) -> ComparisonView:
    """The comparison with one row for each of its runs."""
    request = dict(comparison.request)
    a, b = request.pop("artifact_a"), request.pop("artifact_b")
    return ComparisonView.model_validate(
        {
            "id": comparison.id,
            "name": comparison.name,
            "kind": comparison.kind,
            "state": state_of([found.run.state for found in runs]),
            "a": ComparedArtifact.model_validate(a),
            "b": None if b is None else ComparedArtifact.model_validate(b),
            "request": request,
            "created_at": comparison.created_at,
            "results": [_row(found, with_conditions=with_conditions) for found in runs],
        }
    )


def state_of(run_states: Sequence[str]) -> ComparisonState:
    """The state of several runs together; completed as soon as all have ended and any was measured."""
    states = set(run_states)
    if states <= {"queued"}:
        return "queued"
    if states & {"queued", "leased"}:
        return "running"
    if "completed" in states:
        return "completed"
    return "failed" if "failed" in states else "cancelled"


def _row(found: ComparedRun, *, with_conditions: bool) -> ComparisonRow:
    run, figures = found.run, found.figures
    report = found.result.report if found.result is not None and run.state == "completed" else {}
    return ComparisonRow.model_validate(
        {
            "run_id": run.id,
            "device_id": run.device_id,
            "device_name": found.device.name,
            "state": run.state,
            "attempt": run.attempt,
            "provenance": report.get("provenance"),
            "comparison": _ratio(figures) if figures is not None else None,
            "false_positives": _false_positives(figures) if figures is not None else None,
            "verdict": _verdict(found),
            "blocks_sha256": found.result.samples_sha256 if report and found.result is not None else None,
            "conditions": report.get("environment") if with_conditions else None,
            "error": run.error,
        }
    )


def _ratio(figures: ComparisonResult) -> RatioView | None:
    if figures.kind != "ab":
        return None
    return RatioView.model_validate(
        {
            "ratio": figures.ratio,
            "interval": (figures.ratio_low, figures.ratio_high),
            "confidence": figures.confidence,
            "outcome": figures.outcome,
            "n_pairs": figures.n_pairs,
        }
    )


def _false_positives(figures: ComparisonResult) -> FalsePositivesView | None:
    n_false, n = figures.n_false_positives, figures.n_comparisons
    if n_false is None or n is None:
        return None
    return FalsePositivesView.model_validate(
        {
            "n_comparisons": n,
            "n_false_positives": n_false,
            "share": n_false / n,
            "interval": (figures.share_low, figures.share_high),
        }
    )


def _verdict(found: ComparedRun) -> ComparisonVerdict:
    run = found.run
    if run.error is not None:
        return ComparisonVerdict(status="invalid", reasons=[str(run.error.get("code", "internal"))])
    if run.state == "cancelled":
        return ComparisonVerdict(status="invalid", reasons=["cancelled"])
    if found.result is None:
        return ComparisonVerdict(status="pending", reasons=[])
    stated = found.result.report["verdict"]
    return ComparisonVerdict.model_validate({key: stated[key] for key in ("status", "reasons")})
