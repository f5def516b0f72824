"""What earlier searches teach: points of their fronts, freed of the network's own numbers, as warm starts of the next one."""

from collections.abc import Sequence

from pydantic import Field

from edgefleet_compression.passes.specs.base import Spec
from edgefleet_compression.search.axes import Axis, CategoricalAxis, FloatAxis, IntegerAxis, Value
from edgefleet_compression.search.families import Family
from edgefleet_compression.search.ranking import by_merit
from edgefleet_compression.search.space import TARGET_AXIS, SearchSpace, cause_of, plan_of
from edgefleet_compression.search.study import StudySpec, TrialRecord, at_full_fidelity


class PolicyPoint(Spec):
    """A recipe that was good: of a choice its value, of a number where it lies between 0 and the axis's upper end."""

    choices: dict[str, Value] = Field(default_factory=dict)
    shares: dict[str, float] = Field(default_factory=dict)


class Policy(Spec):
    """Good points of one search, the best first."""

    family: Family
    points: tuple[PolicyPoint, ...] = ()


def learn(spec: StudySpec, history: Sequence[TrialRecord], family: Family, *, most: int = 16) -> Policy:
    """Return the policy of a finished search: its best trials at full fidelity, feasible ones first."""
    best = by_merit(spec, at_full_fidelity(spec, history))[:most]
    return Policy(family=family, points=tuple(_point(spec.space, record) for record in best))


def warm_starts(
    policies: Sequence[Policy], space: SearchSpace, family: Family, *, most: int = 8
) -> tuple[dict[str, Value], ...]:
    """Return points of the new space that policies of the same family speak for, those of other families after them.

    In turns, so that every policy is heard. Axes that a policy does not know take their first value; points that are no recipes
    here, and repetitions, are left out.
    """
    ordered = sorted(policies, key=lambda policy: policy.family != family)
    turns = [
        policy.points[place]
        for place in range(max((len(policy.points) for policy in ordered), default=0))
        for policy in ordered
        if place < len(policy.points)
    ]
    own = {id(point) for policy in policies if policy.family == family for point in policy.points}
    turns.sort(key=lambda point: id(point) not in own)
    found: dict[str, dict[str, Value]] = {}
    for point in turns:
        placed = {axis.name: _value(axis, point) for axis in space.axes}
        if cause_of(space, placed) is None:
            found.setdefault(plan_of(space, placed).key, placed)
    return tuple(found.values())[:most]


def _point(space: SearchSpace, record: TrialRecord) -> PolicyPoint:
    choices = {axis.name: record.point[axis.name] for axis in space.axes if isinstance(axis, CategoricalAxis)}
    shares = {
        axis.name: _share(axis, record.point[axis.name])
        for axis in space.axes
        if not isinstance(axis, CategoricalAxis) and axis.name != TARGET_AXIS
    }
    return PolicyPoint(choices=choices, shares=shares)


def _share(axis: IntegerAxis | FloatAxis, value: Value) -> float:
    """Return a share as it is, a count as a share of the most: half of 9 blocks is half of 12."""
    if isinstance(axis, IntegerAxis):
        return float(value) / axis.high if axis.high else 0.0
    return float(value)


def _value(axis: Axis, point: PolicyPoint) -> Value:
    if isinstance(axis, CategoricalAxis):
        wanted = point.choices.get(axis.name)
        return wanted if wanted is not None and axis.accepts(wanted) else axis.values[0]
    if axis.name not in point.shares:
        return axis.values[0] if axis.values else axis.low
    share = point.shares[axis.name]
    if isinstance(axis, IntegerAxis):
        return min(axis.values, key=lambda value: abs(value - share * axis.high))
    if axis.values:
        return min(axis.values, key=lambda value: abs(value - share))
    return min(axis.high, max(axis.low, share))
