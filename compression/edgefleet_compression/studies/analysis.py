"""Records to one document of tables, tests, fits and the verdict. Pure: the same records give the same document."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from edgefleet_compression.studies.claims import Comparison, MetricName
from edgefleet_compression.studies.constraints import picks
from edgefleet_compression.studies.declaration import Arm, StudyDeclaration, StudyScale, declaration_sha256
from edgefleet_compression.studies.evaluation import ByArm, ClaimResult, evaluate_claim, paired
from edgefleet_compression.studies.metrics import read_metric, validation_retention
from edgefleet_compression.studies.records import FileFigures, Timing, UnitRecord, finished
from edgefleet_compression.studies.sensitivity import changes
from edgefleet_compression.studies.statistics import Interval, holm, mean_interval, paired_test
from edgefleet_compression.studies.timing import medians
from edgefleet_compression.studies.verdicts import together

Document = dict[str, Any]
ACCURACY_DIGITS: Final = 6
SHARES: Final[tuple[MetricName, ...]] = ("accuracy", "retention", "retention_over_chance", "f1_retention")
RATIOS: Final[tuple[MetricName, ...]] = ("size_ratio", "gzip_ratio", "macs_ratio")


def analyse(
    declaration: StudyDeclaration,
    scale_name: str,
    records: Sequence[UnitRecord],
    timings: Sequence[Timing] = (),
    *,
    conditions: Mapping[str, Any] | None = None,
) -> Document:
    """Return everything a report says, as JSON-safe values."""
    scale = declaration.scale(scale_name)
    by_arm = {arm.name: _of(arm, records) for arm in scale.arms}
    claims = [evaluate_claim(claim, by_arm, timings) for claim in scale.claims]
    n_units = sum(len(scale.seeds_of(arm)) for arm in scale.arms)
    n_done = len(finished(records))
    verdict = together([claim.verdict for claim in claims]) if n_done == n_units else "undecided"
    return {
        "study": declaration.model_dump(mode="json", exclude={"scales"}),
        "scale": scale.name,
        "differences": list(scale.differences),
        "declaration_sha256": declaration_sha256(declaration, scale_name),
        "verdict": verdict,
        "n_units": n_units,
        "n_finished": n_done,
        "claims": [_claim(claim) for claim in claims],
        "baselines": _baselines(scale, records),
        "arms": [_arm(arm, by_arm[arm.name], timings, scale.boards) for arm in scale.arms],
        "comparisons": _comparisons(scale.comparisons, by_arm),
        "sensitivity": [
            asdict(item) | {"relative_change": _rounded(item.relative_change)} for item in changes(scale, by_arm)
        ],
        "constraints": [item.model_dump(mode="json") for item in scale.constraints],
        "picks": [asdict(item) for item in picks(scale, by_arm, medians(timings))],
        "failures": _failures(records),
        "cost_s": round(sum(record.cost_s for record in records), 1),
        "conditions": dict(conditions or {}),
    }


def _of(arm: Arm, records: Sequence[UnitRecord]) -> list[UnitRecord]:
    own = [record for record in finished(records) if record.arm == arm.name]
    return sorted(own, key=lambda record: record.seed)


def _claim(result: ClaimResult) -> Document:
    return {
        **result.claim.model_dump(mode="json"),
        "verdict": result.verdict,
        "unit": result.unit,
        **_interval(result.interval),
        "note": result.note,
        "chosen": dict(result.chosen),
        "details": dict(result.details),
    }


def _interval(interval: Interval | None) -> Document:
    if interval is None:
        return {"value": None, "low": None, "high": None, "n": 0}
    return {name: _rounded(value) for name, value in asdict(interval).items()}


def _rounded(value: float) -> float | None:
    """Return the figure as JSON can hold it; what is infinite is null."""
    if isinstance(value, int):
        return value
    return round(value, ACCURACY_DIGITS) if np.isfinite(value) else None


def _baselines(scale: StudyScale, records: Sequence[UnitRecord]) -> list[Document]:
    made = []
    models = {arm.name: arm.model for arm in scale.arms}
    for model in scale.models:
        seen: dict[int, FileFigures] = {}
        for record in finished(records):
            if models.get(record.arm) == model.name and record.baseline is not None:
                seen.setdefault(record.seed, record.baseline)
        if seen:
            values = [seen[seed].accuracy for seed in sorted(seen)]
            first = seen[min(seen)]
            made.append(
                {
                    "model": model.name,
                    "data": model.data,
                    "accuracy": _mean(values),
                    "n_parameters": first.n_parameters,
                    "macs": first.macs,
                    "size_bytes": first.size_bytes,
                    "n_test": first.n_test,
                }
            )
    return made


def _mean(values: Sequence[float]) -> Document:
    if len(values) >= 2:
        return _interval(mean_interval(values))
    value = _rounded(float(values[0])) if values else None
    return {"value": value, "low": None, "high": None, "n": len(values)}


def _arm(arm: Arm, records: Sequence[UnitRecord], timings: Sequence[Timing], boards: Sequence[str]) -> Document:
    document: Document = {
        "name": arm.name,
        "role": arm.role,
        "family": arm.family,
        "model": arm.model,
        "target": arm.target,
        "factors": dict(arm.factors),
        "train_share": arm.train_share,
        "n": len(records),
    }
    if not records:
        return document
    p50_ms = medians(timings)
    for metric in SHARES:
        document[metric] = _mean([read_metric(record, metric) for record in records])
    for metric in RATIOS:
        document[metric] = _rounded(float(np.mean([read_metric(record, metric) for record in records])))
    figures = [record.figures for record in records if record.figures is not None]
    document["validation_retention"] = _rounded(float(np.mean([validation_retention(record) for record in records])))
    document["sparsity"] = _rounded(float(np.mean([item.sparsity for item in figures])))
    document["size_bytes"] = _rounded(float(np.mean([item.size_bytes for item in figures])))
    document["seeds"] = {str(record.seed): _rounded(read_metric(record, "accuracy")) for record in records}
    document["notes"] = list(dict.fromkeys(note for record in records for note in record.notes))
    document["p50_ms"] = {
        board: _mean([p50_ms[item.sha256, board] for item in figures if (item.sha256, board) in p50_ms])
        for board in boards
    }
    document["no_timing"] = _untimed({item.sha256 for item in figures}, timings)
    return document


def _untimed(shas: set[str], timings: Sequence[Timing]) -> Document:
    return {
        timing.board: timing.reason
        for timing in timings
        if timing.sha256 in shas and timing.against is None and timing.reason is not None
    }


def _comparisons(comparisons: Sequence[Comparison], by_arm: ByArm) -> list[Document]:
    made: list[Document] = []
    for comparison in comparisons:
        pairs = paired(by_arm[comparison.a], by_arm[comparison.b])
        row: Document = comparison.model_dump(mode="json")
        if len(pairs) < 2:
            made.append(row | {"n": len(pairs), "p_t": None, "note": "fewer than two pairs"})
            continue
        a, b = ([read_metric(record, comparison.metric) for record in side] for side in zip(*pairs, strict=True))
        test = paired_test(a, b)
        made.append(
            row
            | {
                "n": len(pairs),
                "difference": _interval(test.difference),
                "d_z": None if test.d_z is None else _interval(test.d_z),
                "p_t": test.p_t,
                "p_wilcoxon": test.p_wilcoxon,
                "detectable": None if test.detectable is None else _rounded(test.detectable),
                "note": "" if test.p_t is not None else "all differences are equal",
            }
        )
    _correct(made)
    return made


def _correct(rows: list[Document]) -> None:
    """Add the p value of the t test corrected within its family."""
    for family in {row["family"] for row in rows}:
        own = [row for row in rows if row["family"] == family and row["p_t"] is not None]
        for row, adjusted in zip(own, holm([row["p_t"] for row in own]), strict=True):
            row["p_holm"] = adjusted


def _failures(records: Sequence[UnitRecord]) -> list[Document]:
    return [{"arm": record.arm, "seed": record.seed, **record.error} for record in records if record.error is not None]
