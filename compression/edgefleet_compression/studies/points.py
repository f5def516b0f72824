"""The points of a scaling law: means over seeds of arms, or what models reach. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgefleet_compression.studies.claims import FitClaim
from edgefleet_compression.studies.metrics import read_metric
from edgefleet_compression.studies.records import UnitRecord


@dataclass(frozen=True)
class Points:
    """Points by name: arms, or models."""

    names: tuple[str, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]


class FitPoints:
    """Fitted and held-out points of a claim, for any choice of seeds; the order of a choice does not matter.

    Raises ValueError where an arm lacks a seed that others have: a law over unlike seeds mixes two things.
    """

    def __init__(self, claim: FitClaim, by_arm: Mapping[str, Sequence[UnitRecord]]) -> None:
        self._claim = claim
        self._records = {name: {record.seed: record for record in by_arm.get(name, ())} for name in claim.arms}
        seeds = [sorted(found) for found in self._records.values()]
        if not seeds[0] or any(found != seeds[0] for found in seeds):
            raise ValueError("arms of a law need the same seeds")
        self.seeds: tuple[int, ...] = tuple(seeds[0])

    def at(self, seeds: Sequence[int]) -> tuple[Points, Points]:
        """Return the fitted and the held-out points, each the mean over these seeds."""
        made = self._reachable(seeds) if self._claim.y == "reachable_ratio" else self._arms(seeds)
        inside = [item for item in made if item[0] not in self._claim.held_out]
        outside = [item for item in made if item[0] in self._claim.held_out]
        return _points(inside), _points(outside)

    def _arms(self, seeds: Sequence[int]) -> list[tuple[str, float, float]]:
        return [(name, self._mean(name, seeds, self._x), self._mean(name, seeds, self._y)) for name in self._claim.arms]

    def _mean(self, arm: str, seeds: Sequence[int], read: Callable[[UnitRecord], float]) -> float:
        return float(np.mean([read(self._records[arm][seed]) for seed in seeds]))

    def _x(self, record: UnitRecord) -> float:
        figures, baseline = record.figures, record.baseline
        if figures is None or baseline is None:
            raise ValueError(f"unit {record.arm} has no figures")
        known = {
            "size_ratio": baseline.size_bytes / figures.size_bytes,
            "n_parameters": float(figures.n_parameters),
            "baseline_n_parameters": float(baseline.n_parameters),
        }
        return known[self._claim.x]

    def _y(self, record: UnitRecord) -> float:
        retention = read_metric(record, "retention")
        if self._claim.y == "retention" or record.figures is None:
            return retention
        return max(1.0 - retention, 0.5 / record.figures.n_test)

    def _reachable(self, seeds: Sequence[int]) -> list[tuple[str, float, float]]:
        """Return per group of arms (name up to the last dash) its baseline's size and the ratio at which the floor is met."""
        groups: dict[str, list[str]] = {}
        for name in self._claim.arms:
            groups.setdefault(name.rpartition("-")[0], []).append(name)
        made = []
        for group, arms in groups.items():
            curve = sorted(
                (
                    self._mean(arm, seeds, _size_ratio),
                    self._mean(arm, seeds, lambda record: read_metric(record, "retention")),
                )
                for arm in arms
            )
            made.append((group, self._mean(arms[0], seeds, self._x), ratio_at(curve, self._claim.floor)))
        return made


def ratio_at(curve: Sequence[tuple[float, float]], floor: float) -> float:
    """Return the size ratio at which retention falls below the floor, interpolated in log ratio from (1, 1).

    curve: (ratio, retention) by ascending ratio. The last ratio where the floor is kept throughout: a lower bound.
    """
    before_ratio, before = 1.0, 1.0
    for ratio, retention in curve:
        if retention < floor:
            share = (before - floor) / (before - retention) if before > retention else 0.0
            return float(np.exp(np.log(before_ratio) + share * (np.log(ratio) - np.log(before_ratio))))
        before_ratio, before = ratio, max(retention, floor)
    return before_ratio


def _size_ratio(record: UnitRecord) -> float:
    return read_metric(record, "size_ratio")


def _points(items: Sequence[tuple[str, float, float]]) -> Points:
    if not items:
        raise ValueError("a law needs fitted and held-out points")
    names, x, y = zip(*items, strict=True)
    return Points(tuple(names), tuple(x), tuple(y))
