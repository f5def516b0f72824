"""Claims against records: estimate, interval, verdict. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgefleet_compression.studies.claims import Chosen, Claim, DifferenceClaim, FitClaim, LevelClaim, SpeedClaim
from edgefleet_compression.studies.fits import Fit, fit_law, held_out_r_squared
from edgefleet_compression.studies.metrics import read_metric, validation_retention
from edgefleet_compression.studies.points import FitPoints
from edgefleet_compression.studies.records import Timing, UnitRecord
from edgefleet_compression.studies.statistics import (
    Interval,
    bootstrap_interval,
    detectable_effect,
    mean_interval,
    ratio_interval,
)
from edgefleet_compression.studies.timing import SIMULATED, medians, pick
from edgefleet_compression.studies.verdicts import Verdict, judge

SIMULATION_ERROR: Final = 1.3
"""Factor either way that a simulated ratio may be off (docs/simulation.md: +-30 % on unseen families)."""

ByArm = Mapping[str, Sequence[UnitRecord]]


@dataclass(frozen=True)
class ClaimResult:
    """What became of one claim. value, low and high are None where it could not be computed; ``note`` says why."""

    claim: Claim
    verdict: Verdict
    interval: Interval | None
    unit: str
    note: str = ""
    chosen: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


def evaluate_claim(claim: Claim, by_arm: ByArm, timings: Sequence[Timing]) -> ClaimResult:
    """Return the verdict on one claim; undecided with a note where records are missing."""
    try:
        if isinstance(claim, LevelClaim):
            return _level(claim, by_arm)
        if isinstance(claim, DifferenceClaim):
            return _difference(claim, by_arm)
        if isinstance(claim, SpeedClaim):
            return _speed(claim, by_arm, timings)
        return _fit(claim, by_arm)
    except (ValueError, KeyError) as error:
        return ClaimResult(claim, "undecided", None, "", note=f"not computed: {error}")


def choose(chosen: Chosen, by_arm: ByArm) -> str:
    """Return the arm that is only one, or best or worst on the validation split; KeyError where one has no records."""
    empty = [name for name in chosen.arms if not by_arm.get(name)]
    if empty:
        raise KeyError(f"arm {empty[0]} has no finished unit")
    scores = {name: float(np.mean([validation_retention(record) for record in by_arm[name]])) for name in chosen.arms}
    take: Callable[..., str] = min if chosen.choose == "worst" else max
    return take(scores, key=lambda name: scores[name])


def paired(a: Sequence[UnitRecord], b: Sequence[UnitRecord]) -> list[tuple[UnitRecord, UnitRecord]]:
    """Return the records of seeds that both arms have, in the order of seeds."""
    others = {record.seed: record for record in b}
    return [(own, others[own.seed]) for own in sorted(a, key=lambda record: record.seed) if own.seed in others]


def _level(claim: LevelClaim, by_arm: ByArm) -> ClaimResult:
    name = choose(claim.arm, by_arm)
    values = [read_metric(record, claim.metric) for record in by_arm[name]]
    return _judged(claim, mean_interval(values), claim.metric, {"arm": name}, _power_note(values))


def _difference(claim: DifferenceClaim, by_arm: ByArm) -> ClaimResult:
    a, b = choose(claim.a, by_arm), choose(claim.b, by_arm)
    if a == b:
        raise ValueError(f"both sides chose {a}")
    pairs = paired(by_arm[a], by_arm[b])
    own = [read_metric(first, claim.metric) for first, _ in pairs]
    other = [read_metric(second, claim.metric) for _, second in pairs]
    chosen = {"a": a, "b": b}
    if claim.scale == "ratio":
        return _judged(claim, ratio_interval(own, other), f"ratio of {claim.metric}", chosen)
    points = [100 * (first - second) for first, second in zip(own, other, strict=True)]
    return _judged(claim, mean_interval(points), f"points of {claim.metric}", chosen, _power_note(points))


def _power_note(values: Sequence[float]) -> str:
    deviation = float(np.std(values, ddof=1))
    if deviation == 0:
        return "all repetitions are equal"
    return f"with {len(values)} seeds of this spread a test finds {deviation * detectable_effect(len(values)):.3g} with a power of 80 %"


def _speed(claim: SpeedClaim, by_arm: ByArm, timings: Sequence[Timing]) -> ClaimResult:
    records = [record for arm in claim.arms for record in by_arm.get(arm, ())]
    p50_ms = medians(timings)
    picked = pick(claim, records, p50_ms)
    if picked is None:
        return ClaimResult(
            claim, "undecided", None, "", note=f"no candidate keeps {claim.floor:.0%} and runs on the board"
        )
    aware, agnostic = picked
    chosen, unit = {"aware": aware, "agnostic": agnostic}, "ratio of p50, agnostic over aware"
    pairs = paired(by_arm[aware], by_arm[agnostic])
    if aware == agnostic:
        note = "both rules chose the same arm"
        return _judged(claim, Interval(1.0, 1.0, 1.0, len(pairs)), unit, chosen, note)
    if claim.board.startswith(SIMULATED):
        seconds = [[p50_ms[_sha(item), claim.board] for item in side] for side in zip(*pairs, strict=True)]
        found = ratio_interval(seconds[1], seconds[0])
        widened = Interval(found.value, found.low / SIMULATION_ERROR, found.high * SIMULATION_ERROR, found.n)
        return _judged(
            claim, widened, unit, chosen, "SIMULATED; interval widened by the simulation's error, 1.3 either way"
        )
    in_turns = {(item.sha256, item.against): item for item in timings if item.board == claim.board and item.ratio}
    compared = [in_turns.get((_sha(own), _sha(other))) for own, other in pairs]
    ratios = [timing.ratio for timing in compared if timing is not None and timing.ratio is not None]
    return _judged(claim, ratio_interval(ratios, [1.0] * len(ratios)), unit, chosen, "measured in turns on this host")


def _sha(record: UnitRecord) -> str:
    return record.figures.sha256 if record.figures is not None else ""


def _fit(claim: FitClaim, by_arm: ByArm) -> ClaimResult:
    points = FitPoints(claim, by_arm)
    seeds = points.seeds
    fit, r_squared = _fitted(claim, points, seeds)

    def resampled(statistic: Callable[[Fit, float], float]) -> Callable[[NDArray[np.intp]], float]:
        def of_indices(indices: NDArray[np.intp]) -> float:
            try:
                return statistic(*_fitted(claim, points, [seeds[index] for index in indices]))
            except ValueError:
                return math.nan

        return of_indices

    low, high = bootstrap_interval(len(seeds), resampled(lambda _, score: score))
    slopes = bootstrap_interval(len(seeds), resampled(lambda found, _: found.exponent))
    inside, outside = points.at(seeds)
    laws = {law: fit_law(law, inside.x, inside.y).aic for law in ("power", "exponential")}
    details = {
        "law": fit.law,
        "factor": fit.factor,
        "exponent": fit.exponent,
        "exponent_interval": list(slopes),
        "aic": laws,
        "fitted": [list(pair) for pair in zip(inside.names, inside.x, inside.y, strict=True)],
        "held_out": [list(pair) for pair in zip(outside.names, outside.x, outside.y, strict=True)],
    }
    interval = Interval(r_squared, low, high, len(seeds))
    return _judged(claim, interval, "R squared on held-out points", {}, "percentile bootstrap over seeds", details)


def _fitted(claim: FitClaim, points: FitPoints, seeds: Sequence[int]) -> tuple[Fit, float]:
    inside, outside = points.at(seeds)
    fit = fit_law(claim.law, inside.x, inside.y)
    return fit, held_out_r_squared(fit, inside.y, outside.x, outside.y)


def _judged(
    claim: Claim,
    interval: Interval,
    unit: str,
    chosen: Mapping[str, str],
    note: str = "",
    details: Mapping[str, Any] | None = None,
) -> ClaimResult:
    verdict = judge(
        interval.low,
        interval.high,
        supported_from=claim.supported_from,
        falsified_below=claim.falsified_below,
        n=interval.n,
    )
    return ClaimResult(claim, verdict, interval, unit, note, chosen, details or {})
