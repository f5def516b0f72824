"""What the rounds of a deployment check say together, about each finalist on each device."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from sqlalchemy.orm import Session

from edgefleet_compression.search.estimates import Estimate
from edgefleet_compression.search.objectives import Metric
from edgefleet_compression.search.summary import across_boards
from edgefleet_controller.results.rows import TRUSTED
from edgefleet_controller.results.schemas import VariantRow
from edgefleet_controller.results.service import variant_rows
from edgefleet_controller.studies.outcomes import values_of, with_retention

JsonObject = dict[str, Any]
Key = tuple[str, str]
"""Name of a recipe and target."""
BASELINE_NAME = "baseline"
SAME_EVERY_ROUND: tuple[Metric, ...] = ("accuracy", "size_bytes")
"""What another round measures on the same samples, so that it adds nothing to what is known."""


@dataclass
class Measured:
    """One file on one device over all rounds."""

    device_id: str
    device: str
    provenance: str
    artifact_sha256: str | None
    rounds: dict[int, dict[Metric, Estimate]] = field(default_factory=dict)
    """by number, those that may be relied on"""
    verdicts: list[str] = field(default_factory=list)
    run_ids: list[str] = field(default_factory=list)


def rows_of(session: Session, job_ids: Sequence[str]) -> list[VariantRow]:
    """The rows of one round."""
    return [row for job_id in job_ids for row in variant_rows(session, job_id)]


def collect(rounds: Iterable[Sequence[VariantRow]]) -> dict[Key, dict[str, Measured]]:
    """Recipe and target -> device -> what was measured, as far as it may be relied on."""
    found: dict[Key, dict[str, Measured]] = {}
    for number, rows in enumerate(rounds):
        baselines = {row.device_id: row for row in rows if row.recipe == BASELINE_NAME}
        for row in rows:
            if row.run_id is None or row.device_id is None:
                continue
            own = found.setdefault((row.recipe, row.target), {})
            measured = own.setdefault(
                row.device_id,
                Measured(row.device_id, row.device_name or "", row.provenance or "", row.artifact_sha256),
            )
            measured.run_ids.append(row.run_id)
            measured.verdicts.append(row.verdict.status)
            if row.verdict.status in TRUSTED:
                measured.provenance = row.provenance or measured.provenance
                measured.rounds[number] = _values(row, baselines.get(row.device_id))
    return found


def _values(row: VariantRow, baseline: VariantRow | None) -> dict[Metric, Estimate]:
    return with_retention(values_of(row), None if baseline is None else baseline.accuracy_device)


def together(measured: Measured) -> dict[Metric, Estimate]:
    """One estimate for each figure that some round had."""
    names = dict.fromkeys(metric for values in measured.rounds.values() for metric in values)
    return {
        metric: combined(
            [values[metric] for values in measured.rounds.values() if metric in values], is_same=_is_same(metric)
        )
        for metric in names
    }


def _is_same(metric: Metric) -> bool:
    return metric in SAME_EVERY_ROUND or metric == "retention"


def combined(rounds: Sequence[Estimate], *, is_same: bool = False) -> Estimate:
    """The mean of the rounds. Its error is the larger of what the rounds say of themselves and how far they lie apart."""
    value = fmean(item.value for item in rounds)
    own = math.sqrt(math.fsum(item.standard_error**2 for item in rounds)) / len(rounds)
    if is_same or len(rounds) == 1:
        return Estimate(value, max(item.standard_error for item in rounds))
    apart = stdev(item.value for item in rounds) / math.sqrt(len(rounds))
    return Estimate(value, max(own, apart))


def speedup(baseline: Measured, measured: Measured, metric: Metric = "latency_p50_ms") -> Estimate | None:
    """The baseline's figure over this one's, round by round, so that a board's slow hour touches both; None without rounds."""
    pairs = [
        (baseline.rounds[number][metric], own[metric])
        for number, own in measured.rounds.items()
        if metric in baseline.rounds.get(number, {}) and metric in own and own[metric].value > 0
    ]
    if not pairs:
        return None
    ratios = [
        Estimate(
            first.value / second.value,
            math.hypot(first.standard_error / second.value, first.value * second.standard_error / second.value**2),
        )
        for first, second in pairs
    ]
    return combined(ratios)


def of_kind(devices: Mapping[str, Mapping[Metric, Estimate]]) -> dict[Metric, Estimate]:
    """What can be said of boards of the kind: the mean over its devices, with an error that holds their spread."""
    return {metric: across_boards(list(own.values())).estimate for metric, own in _by_metric(devices).items()}


def disagreements(devices: Mapping[str, Mapping[Metric, Estimate]]) -> list[JsonObject]:
    """Figures in which devices of one kind differ by more than their errors explain, with the two that differ most."""
    found = []
    for metric, own in _by_metric(devices).items():
        if across_boards(list(own.values())).agree:
            continue
        ordered = sorted(own, key=lambda name: own[name].value)
        low, high = ordered[0], ordered[-1]
        ratio = own[high].value / own[low].value if own[low].value else None
        found.append({"metric": metric, "low": low, "high": high, "ratio": ratio})
    return found


def _by_metric(devices: Mapping[str, Mapping[Metric, Estimate]]) -> dict[Metric, dict[str, Estimate]]:
    found: dict[Metric, dict[str, Estimate]] = {}
    for name, values in devices.items():
        for metric, value in values.items():
            found.setdefault(metric, {})[name] = value
    return found
