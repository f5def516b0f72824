"""A controller's A/B or A/A run: the comparison as the report of a run, with its blocks as raw samples."""

from collections.abc import Sequence
from typing import Optional

from edgefleet_agent.errors import MeasurementFailed
from edgefleet_agent.measure.artifact import Measurement, blob_ref
from edgefleet_agent.measure.paired import (
    BlockPlan,
    ComparisonReport,
    compare_artifacts,
    false_positives,
    with_deadline,
)
from edgefleet_agent.measure.subject import Bench, Subject
from edgefleet_agent.measure.verdict import join_verdicts
from edgefleet_agent.settings import AGENT_VERSION
from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.comparison import ComparisonFigures, ComparisonPlan
from edgefleet_agent.wire.messages import RunOrder
from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_agent.wire.report import Environment, RunReport
from edgefleet_agent.wire.samples import encode_samples

SIDES = "AB"


def measure_comparison(order: RunOrder, subject: Subject, second: Optional[Subject], bench: Bench) -> Measurement:
    """Carry out an order of kind ``ab`` or ``aa``; raises MeasurementFailed where either artifact can't run."""
    plan = order.comparison or ComparisonPlan()
    blocks = block_plan(plan)
    first = with_deadline(subject, blocks)
    other = first if second is None else with_deadline(second, blocks)
    n_comparisons = plan.n_comparisons if order.kind == "aa" else 1
    reports = [compare_artifacts(first, other, blocks, bench) for _ in range(n_comparisons)]
    blobs = {"blocks": encode_blocks(reports)}
    figures: JsonObject = (
        {"second": reports[0].b, "comparison": figures_of(reports[0])}
        if order.kind == "ab"
        else {"false_positives": false_positives([(report.ratio, report.outcome) for report in reports])}
    )
    report = RunReport(
        agent_version=AGENT_VERSION,
        provenance=reports[0].provenance,
        artifact=subject.artifact,
        environment=_environment(reports, plan),
        verdict=join_verdicts([report.verdict for report in reports]),
        samples={name: blob_ref(content) for name, content in blobs.items()},
        **figures,
    )
    return Measurement(report, blobs)


def refuse_comparison(kind: str) -> MeasurementFailed:
    """The failure of a comparison on a device of another kind than physical."""
    return MeasurementFailed(
        ErrorCode.NOT_SUPPORTED,
        "a {} device cannot compare artifacts in turns: its latencies are not those of a board; compare on a physical "
        "device".format(kind),
    )


def block_plan(plan: ComparisonPlan) -> BlockPlan:
    """The blocks of one comparison."""
    return BlockPlan(
        n_pairs=plan.n_pairs,
        seconds=plan.block_seconds,
        min_samples=plan.block_min_samples,
        max_seconds=plan.max_seconds,
    )


def figures_of(report: ComparisonReport) -> ComparisonFigures:
    """The figures alone."""
    return ComparisonFigures(**{name: getattr(report, name) for name in ComparisonFigures.model_fields})


def encode_blocks(reports: Sequence[ComparisonReport]) -> bytes:
    """Blob ``blocks``: comparison (from 0), side (0: A, 1: B), start_ns, n inferences and p50_ns of each block in order."""
    rows = [(number, block) for number, report in enumerate(reports) for block in report.blocks]
    columns = {
        "comparison": [number for number, _ in rows],
        "side": [SIDES.index(block.side) for _, block in rows],
        "start_ns": [block.start_ns for _, block in rows],
        "n": [block.n for _, block in rows],
        "p50_ns": [round(block.p50_ms * 1e6) for _, block in rows],
    }
    return encode_samples(columns, clock="CLOCK_MONOTONIC")


def _environment(reports: Sequence[ComparisonReport], plan: ComparisonPlan) -> Environment:
    first = reports[0]
    return Environment(
        host=first.host,
        before=first.before,
        after=reports[-1].after,
        runtime={**first.runtime, "second": first.runtime_b},
        settings={**first.settings, **plan.model_dump()},
        affinity=first.affinity,
    )
