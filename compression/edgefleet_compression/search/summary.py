"""What a search has found: its front with errors, its volume trial by trial, and whether boards agree."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgefleet_compression.search.estimates import NORMAL_95, Estimate
from edgefleet_compression.search.objectives import is_feasible, probability_feasible
from edgefleet_compression.search.pareto import CONFIDENCE, Point, find_front, probability_of_dominance
from edgefleet_compression.search.study import StudySpec, TrialRecord, at_full_fidelity, costs


@dataclass(frozen=True)
class FrontMember:
    """A trial of the final front. probability_dominated: by the one trial that most likely beats it."""

    record: TrialRecord
    probability_dominated: float
    probability_feasible: float


def front_of(
    spec: StudySpec, history: Sequence[TrialRecord], *, confidence: float = CONFIDENCE
) -> tuple[FrontMember, ...]:
    """Return the trials at full fidelity that keep to the constraints and that no other such trial dominates with this
    probability, in the order of their numbers.
    """
    candidates = [
        record for record in at_full_fidelity(spec, history) if is_feasible(spec.constraints, record.estimates)
    ]
    points = [cost_point(spec, record) for record in candidates]
    members = zip(candidates, points, find_front(points, confidence=confidence), strict=True)
    return tuple(
        FrontMember(
            record,
            max((probability_of_dominance(other, point) for other in points if other is not point), default=0.0),
            probability_feasible(spec.constraints, record.estimates),
        )
        for record, point, is_on_front in members
        if is_on_front
    )


def cost_point(spec: StudySpec, record: TrialRecord) -> Point:
    """Return the objectives (n_objectives,) with errors, all minimised."""
    return tuple(item.cost_estimate(record.values[item.metric].estimate) for item in spec.objectives)


def volume_by_trial(spec: StudySpec, history: Sequence[TrialRecord]) -> tuple[float, ...]:
    """Return for every trial, by number, the share of the frame that all complete and feasible trials up to it dominate.

    () without a frame. Trials below full fidelity add nothing.
    """
    if spec.frame is None:
        return ()
    counted = {
        record.number for record in at_full_fidelity(spec, history) if is_feasible(spec.constraints, record.estimates)
    }
    shares: list[float] = []
    points: list[tuple[float, ...]] = []
    for record in sorted(history, key=lambda item: item.number):
        if record.number in counted:
            points.append(costs(spec, record))
        shares.append(spec.frame.share(points))
    return tuple(shares)


@dataclass(frozen=True)
class Agreed:
    """One figure of several boards of a kind. agree: False where their spread is more than their errors explain."""

    estimate: Estimate
    agree: bool
    n_boards: int


def across_boards(estimates: Sequence[Estimate]) -> Agreed:
    """Return the mean over boards with an error that holds their spread (random effects, DerSimonian, Laird 1986, Controlled
    Clinical Trials 7(3)). Boards disagree where 95 % of them would spread over more than
    LEAST_DISAGREEMENT of the mean to either side.

    Raises ValueError without estimates.
    """
    if not estimates:
        raise ValueError("there is no board to speak of")
    if len(estimates) == 1:
        return Agreed(estimates[0], True, 1)
    values = [item.value for item in estimates]
    mean = math.fsum(values) / len(values)
    errors = [max(item.standard_error, 1e-12 * max(1.0, abs(mean))) for item in estimates]
    weights = [1 / error**2 for error in errors]
    pooled = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / math.fsum(weights)
    q = math.fsum(w * (v - pooled) ** 2 for w, v in zip(weights, values, strict=True))
    scale = math.fsum(weights) - math.fsum(w**2 for w in weights) / math.fsum(weights)
    between = max(0.0, (q - (len(values) - 1)) / scale)
    adjusted = [1 / (error**2 + between) for error in errors]
    combined = math.fsum(w * v for w, v in zip(adjusted, values, strict=True)) / math.fsum(adjusted)
    agree = between == 0.0 or NORMAL_95 * math.sqrt(between) <= LEAST_DISAGREEMENT * abs(combined)
    return Agreed(Estimate(combined, math.sqrt(1 / math.fsum(adjusted))), agree, len(values))


LEAST_DISAGREEMENT = 0.05
"""Spread between boards, as a share of their mean, that is worth telling: chips of one kind differ by a few percent."""
