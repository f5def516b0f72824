"""Which results are better, by their values alone: what samplers and promotions go by. Reports use ``pareto`` with errors."""

from collections.abc import Sequence

from edgefleet_compression.search.hypervolume import Box
from edgefleet_compression.search.objectives import is_feasible
from edgefleet_compression.search.study import StudySpec, TrialRecord, costs

Costs = tuple[float, ...]


def beats(first: Costs, second: Costs) -> bool:
    """Whether the first is nowhere more and somewhere less; both (n_objectives,), minimised."""
    return all(own <= other for own, other in zip(first, second, strict=True)) and first != second


def non_dominated_ranks(points: Sequence[Costs]) -> list[int]:
    """Return for each point how many fronts have to be taken away before it is on one (Deb et al. 2002, NSGA-II)."""
    ranks = [-1] * len(points)
    waiting = set(range(len(points)))
    rank = 0
    while waiting:
        front = {one for one in waiting if not any(beats(points[other], points[one]) for other in waiting)}
        for one in front:
            ranks[one] = rank
        waiting -= front
        rank += 1
    return ranks


def by_merit(spec: StudySpec, records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return complete trials, best first: feasible ones before others, by rank, then by what each adds to its front's volume.

    Infeasible ones go by their total violation. Equals stay in the order of their numbers.
    """
    ordered = sorted(records, key=lambda record: record.number)
    feasible = [record for record in ordered if is_feasible(spec.constraints, record.estimates)]
    numbers = {record.number for record in feasible}
    others = [record for record in ordered if record.number not in numbers]
    points = [costs(spec, record) for record in feasible]
    ranks = non_dominated_ranks(points)
    gains = _gains(points, ranks, spec.frame or _frame_around(points))
    order = sorted(range(len(feasible)), key=lambda place: (ranks[place], -gains[place], feasible[place].number))
    others.sort(key=lambda record: (total_violation(spec, record), record.number))
    return [feasible[place] for place in order] + others


def total_violation(spec: StudySpec, record: TrialRecord) -> float:
    """Return the sum of the relative violations of a complete trial."""
    return sum(max(0.0, item.violation(record.values[item.metric].value)) for item in spec.constraints)


def _gains(points: Sequence[Costs], ranks: Sequence[int], frame: Box | None) -> list[float]:
    """Return what the volume of a point's own front loses without it."""
    if frame is None:
        return [0.0] * len(points)
    gains = [0.0] * len(points)
    for rank in sorted(set(ranks)):
        members = [place for place, own in enumerate(ranks) if own == rank]
        whole = frame.share([points[place] for place in members])
        for place in members:
            gains[place] = whole - frame.share([points[other] for other in members if other != place])
    return gains


def _frame_around(points: Sequence[Costs]) -> Box | None:
    """Return a frame a little larger than the points; None where they do not differ in every objective."""
    if not points:
        return None
    columns = list(zip(*points, strict=True))
    best, worst = tuple(min(column) for column in columns), tuple(max(column) for column in columns)
    if any(low >= high for low, high in zip(best, worst, strict=True)):
        return None
    return Box(best, tuple(high + (high - low) / 10 for low, high in zip(best, worst, strict=True)))
