"""What device classes allow: for every model the arms that constraints leave, by two rules. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgefleet_compression.studies.declaration import ConstraintSet, StudyScale
from edgefleet_compression.studies.metrics import validation_retention
from edgefleet_compression.studies.records import UnitRecord

KEPT = 0.95
"""Retention that efficiency-first keeps."""


@dataclass(frozen=True)
class Pick:
    """The arms that one constraint set leaves of one model; None where none meets it."""

    constraint: str
    model: str
    accuracy_first: str | None
    efficiency_first: str | None


def picks(
    scale: StudyScale, by_arm: Mapping[str, Sequence[UnitRecord]], p50_ms: Mapping[tuple[str, str], float]
) -> list[Pick]:
    """Return what each set leaves of each model; figures are means over seeds, accuracy is of the validation split.

    An arm without latency on the set's board does not meet it.
    """
    made = []
    for constraint in scale.constraints:
        for model in scale.models:
            arms = [arm.name for arm in scale.arms if arm.model == model.name and arm.role == "main"]
            left = {name: by_arm[name] for name in arms if _meets(constraint, by_arm[name], p50_ms)}
            kept = {name: own for name, own in left.items() if _retention(own) >= KEPT}
            made.append(
                Pick(
                    constraint.name,
                    model.name,
                    max(left, key=lambda name: _accuracy(by_arm[name]), default=None),
                    min(kept, key=lambda name: _size(by_arm[name]), default=None),
                )
            )
    return made


def _meets(constraint: ConstraintSet, records: Sequence[UnitRecord], p50_ms: Mapping[tuple[str, str], float]) -> bool:
    shas = [record.figures.sha256 for record in records if record.figures is not None]
    latencies = [p50_ms.get((sha256, constraint.board)) for sha256 in shas]
    known = [value for value in latencies if value is not None]
    if not shas or len(known) < len(shas):
        return False
    return _size(records) <= constraint.size_bytes and float(np.mean(known)) <= constraint.p50_ms


def _size(records: Sequence[UnitRecord]) -> float:
    return float(np.mean([record.figures.size_bytes for record in records if record.figures is not None]))


def _accuracy(records: Sequence[UnitRecord]) -> float:
    return float(np.mean([record.figures.accuracy_validation for record in records if record.figures is not None]))


def _retention(records: Sequence[UnitRecord]) -> float:
    return float(np.mean([validation_retention(record) for record in records]))
