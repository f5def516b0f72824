"""The artifact to deploy on a board, out of a finished search: which one, how sure, and why."""

import math
from collections.abc import Sequence

from pydantic import Field

from edgefleet_compression.passes.specs.base import Spec
from edgefleet_compression.search.hypervolume import Box
from edgefleet_compression.search.objectives import violations
from edgefleet_compression.search.ranking import total_violation
from edgefleet_compression.search.space import Cause
from edgefleet_compression.search.study import StudySpec, TrialRecord, at_full_fidelity, costs
from edgefleet_compression.search.summary import FrontMember, front_of

SURE = 0.95


class Recommendation(Spec):
    """One trial of a search, or the reason why none can be recommended."""

    trial: int | None = Field(description="Number of the trial; null: see cause.")
    cause: Cause | None = None
    probability_feasible: float | None = Field(None, description="Of keeping to all constraints, errors independent.")
    probability_dominated: float | None = Field(
        None, description="Of being beaten in every objective by the one other trial that most likely does."
    )
    distance: float | None = Field(
        None, description="From the frame's best corner, 0 to the root of the number of objectives."
    )
    why: tuple[str, ...] = Field((), description="For a person.")
    nearest: int | None = Field(None, description="Where none is recommended: the trial that violates least.")


def recommend(spec: StudySpec, history: Sequence[TrialRecord]) -> Recommendation:
    """Return the trial of the front that is nearest to the best of every objective, those that surely keep to the
    constraints first.

    Nearest by distance in the frame (the compromise solution, Yu 1973, Management Science 19(8)). Where nothing keeps to the
    constraints, or nothing was finished, the cause says so, and the partial front stays what it is.
    """
    front = front_of(spec, history)
    if not front:
        return _none(spec, history)
    sure = [member for member in front if member.probability_feasible >= SURE]
    frame = spec.frame or _frame_of(spec, front)
    chosen = min(sure or front, key=lambda member: (_distance(spec, member, frame), member.record.number))
    return Recommendation(
        trial=chosen.record.number,
        probability_feasible=chosen.probability_feasible,
        probability_dominated=chosen.probability_dominated,
        distance=_distance(spec, chosen, frame),
        why=_reasons(spec, front, sure, chosen),
    )


def _reasons(
    spec: StudySpec, front: Sequence[FrontMember], sure: Sequence[FrontMember], chosen: FrontMember
) -> tuple[str, ...]:
    reasons = [f"nearest to the best of every objective among {len(sure or front)} of the front"]
    if spec.constraints:
        kept = f"keeps to the constraints with a probability of {chosen.probability_feasible:.3f}"
        reasons.append(kept if sure else f"{kept}: none of the front is surer than {SURE}")
    if chosen.probability_dominated > 0.5:
        reasons.append(
            f"beaten by another with a probability of {chosen.probability_dominated:.2f}, too little to tell them apart"
        )
    for item in spec.objectives:
        best = min(front, key=lambda member: item.cost(member.record.values[item.metric].value))
        if best.record.number == chosen.record.number:
            reasons.append(f"the best of the front by {item.metric}")
    return tuple(reasons)


def _none(spec: StudySpec, history: Sequence[TrialRecord]) -> Recommendation:
    complete = at_full_fidelity(spec, history)
    if not complete:
        cause = Cause(
            code="nothing_finished", message="No trial was finished at full fidelity: see the trials' causes."
        )
        return Recommendation(trial=None, cause=cause)
    nearest = min(complete, key=lambda record: (total_violation(spec, record), record.number))
    broken = [name for name, by in violations(spec.constraints, nearest.estimates).items() if by > 0]
    cause = Cause(
        code="nothing_feasible",
        message=f"No trial keeps to every constraint; trial {nearest.number} comes nearest and misses {', '.join(broken)}.",
    )
    return Recommendation(trial=None, cause=cause, nearest=nearest.number)


def _distance(spec: StudySpec, member: FrontMember, frame: Box | None) -> float:
    if frame is None:
        return 0.0
    scaled = frame.scaled([costs(spec, member.record)])[0]
    return float(math.hypot(*(max(0.0, value) for value in scaled)))


def _frame_of(spec: StudySpec, front: Sequence[FrontMember]) -> Box | None:
    columns = list(zip(*(costs(spec, member.record) for member in front), strict=True))
    best, worst = tuple(min(column) for column in columns), tuple(max(column) for column in columns)
    if not all(low < high for low, high in zip(best, worst, strict=True)):
        return None
    return Box(best, worst)
