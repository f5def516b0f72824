"""How much the result of an arm moves when its settings or its data do. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgefleet_compression.studies.declaration import StudyScale
from edgefleet_compression.studies.metrics import read_metric
from edgefleet_compression.studies.records import UnitRecord

FAMILY: Final = "sensitivity of "
"""What families of sensitivity arms begin with; the arm that they vary follows."""

SETTINGS_TOLERANCE: Final = 0.05
DATA_TOLERANCE: Final = 0.15
"""As it was asked: 10 % of a key setting changes the result by less than 5 %, half of the data costs less than 15 %."""


@dataclass(frozen=True)
class Change:
    """Mean relative change of the accuracy against the arm that is varied, over the seeds of both."""

    arm: str
    base: str
    changed: str
    n: int
    relative_change: float
    tolerance: float
    is_within: bool


def changes(scale: StudyScale, by_arm: Mapping[str, Sequence[UnitRecord]]) -> list[Change]:
    """Return the change of every sensitivity arm that shares a seed with the arm it varies."""
    made = []
    for arm in scale.arms:
        if arm.role != "sensitivity":
            continue
        name = arm.family.removeprefix(FAMILY)
        base = {record.seed: read_metric(record, "accuracy") for record in by_arm.get(name, ())}
        shared = [record for record in by_arm[arm.name] if base.get(record.seed)]
        if not shared:
            continue
        found = float(np.mean([read_metric(item, "accuracy") / base[item.seed] - 1.0 for item in shared]))
        halved = arm.train_share < scale.arm(name).train_share
        tolerance = DATA_TOLERANCE if halved else SETTINGS_TOLERANCE
        within = -found < tolerance if halved else abs(found) < tolerance
        made.append(Change(arm.name, name, str(arm.factors.get("changed", "")), len(shared), found, tolerance, within))
    return made
