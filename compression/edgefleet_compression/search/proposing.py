"""What to try next, and when to stop: pure functions of a search and its history.

Every proposal is computed from the spec and the records alone, with a random stream of its own that follows from the
spec's seed and the trial's number. So whoever holds the history goes on as if nothing had happened.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Final

from edgefleet_compression.errors import CompressionError, SearchInvalid
from edgefleet_compression.search.axes import Point
from edgefleet_compression.search.fidelity import FidelityLevel, recipe_at
from edgefleet_compression.search.objectives import is_feasible
from edgefleet_compression.search.ranking import by_merit
from edgefleet_compression.search.samplers import SAMPLERS, Situation, Told
from edgefleet_compression.search.space import Cause, Plan, SearchSpace, grid, is_enumerable, plan_of
from edgefleet_compression.search.study import (
    Origin,
    Proposal,
    StudySpec,
    TrialRecord,
    at_full_fidelity,
    costs,
    started,
)

MOST_DRAWS: Final = 64
"""Draws of the sampler before the nearest untried point is taken instead."""

MOST_DRAWS_WITHOUT_GRID: Final = 4096


def propose(spec: StudySpec, history: Sequence[TrialRecord], n: int) -> tuple[Proposal, ...]:
    """Return at most n new trials, fewer where the batch is full, the search is finished, or trials have to be awaited first.

    Asking for n at once gives what asking one by one would. Raises SearchInvalid ``history_invalid`` for records that are not
    this search's.
    """
    records = _checked(spec, history)
    found: list[Proposal] = []
    while len(found) < n and (proposal := _next(spec, records)) is not None:
        found.append(proposal)
        records.append(started(proposal))
    return tuple(found)


def finished(spec: StudySpec, history: Sequence[TrialRecord]) -> Cause | None:
    """Return why nothing more will be proposed; None while something may. Trials may still be running.

    Codes: ``target_reached``, ``budget_used``, ``space_exhausted``.
    """
    records = _checked(spec, history)
    if spec.goals:
        wanted = (*spec.constraints, *spec.goals)
        for record in at_full_fidelity(spec, records):
            if is_feasible(wanted, record.estimates):
                return Cause(code="target_reached", message=f"Trial {record.number} keeps to every goal.")
    is_running = any(record.state == "running" for record in records)
    if _left(spec, records) < spec.ladder.levels[0].cost:
        return Cause(code="budget_used", message=f"The budget of {spec.n_trials} trials is used up.")
    if (
        not is_running
        and is_enumerable(spec.space)
        and not _untried(spec, records)
        and _promotion(spec, records) is None
    ):
        return Cause(code="space_exhausted", message="Every recipe of the space has been tried.")
    return None


def budget_used(spec: StudySpec, history: Sequence[TrialRecord]) -> float:
    """Return what the trials cost, those that failed or run included, in trials at the last level."""
    return sum(spec.ladder.level(record.fidelity).cost for record in history)


def _left(spec: StudySpec, records: Sequence[TrialRecord]) -> float:
    return spec.n_trials - budget_used(spec, records) + 1e-9


def _checked(spec: StudySpec, history: Sequence[TrialRecord]) -> list[TrialRecord]:
    records = sorted(history, key=lambda record: record.number)
    levels = {level.name for level in spec.ladder.levels}
    if [record.number for record in records] != list(range(len(records))):
        raise SearchInvalid("The history needs every trial from number 0 on once.", code="history_invalid")
    for record in records:
        if record.fidelity not in levels:
            raise SearchInvalid(
                f"Trial {record.number} has the fidelity {record.fidelity}, which the ladder lacks.",
                code="history_invalid",
            )
    return records


def _next(spec: StudySpec, records: Sequence[TrialRecord]) -> Proposal | None:
    """Return trial number ``len(records)``, or None."""
    number, running = len(records), [record for record in records if record.state == "running"]
    if len(running) >= spec.batch or finished(spec, records) is not None:
        return None
    known = _known(spec, records)
    if known is None:
        return None
    promotion = _promotion(spec, known, taken=records)
    if promotion is not None:
        record, level = promotion
        if level.cost <= _left(spec, records):
            return _proposal(plan_of(spec.space, record.point), level, number, "promoted", record.number)
    return _fresh(spec, records, known, number)


def _known(spec: StudySpec, records: Sequence[TrialRecord]) -> list[TrialRecord] | None:
    """Return the finished trials that the next one may look at; None while one of them is still running."""
    if spec.order == "free":
        return [record for record in records if record.state != "running"]
    seen = list(records[: max(0, len(records) - spec.batch + 1)])
    return None if any(record.state == "running" for record in seen) else seen


def _proposal(
    plan: Plan, level: FidelityLevel, number: int, origin: Origin, promoted_from: int | None = None
) -> Proposal:
    return Proposal(
        number=number,
        point=dict(plan.point),
        recipe=recipe_at(plan.recipe, level),
        target=plan.target,
        fidelity=level.name,
        origin=origin,
        promoted_from=promoted_from,
    )


def _promotion(
    spec: StudySpec, known: Sequence[TrialRecord], *, taken: Sequence[TrialRecord] | None = None
) -> tuple[TrialRecord, FidelityLevel] | None:
    """Return the best trial that deserves the next level and has not had it, highest level first."""
    had = {record.promoted_from for record in (known if taken is None else taken)}
    for below, above in reversed(list(itertools.pairwise(spec.ladder.levels))):
        complete = [record for record in known if record.state == "complete" and record.fidelity == below.name]
        n_best = int(len(complete) * spec.ladder.keep + 1e-9)
        for record in by_merit(spec, complete)[:n_best]:
            if record.number not in had:
                return record, above
    return None


def _fresh(
    spec: StudySpec, records: Sequence[TrialRecord], known: Sequence[TrialRecord], number: int
) -> Proposal | None:
    level = spec.ladder.levels[0]
    tried = _tried(spec, records)
    for point in spec.warm_starts:
        plan = plan_of(spec.space, point)
        if plan.key not in tried:
            return _proposal(plan, level, number, "warm_start")
    drawn = SAMPLERS[spec.sampler](_situation(spec, records, known, number))
    found = _first_new(spec.space, drawn, tried)
    return None if found is None else _proposal(found, level, number, "sampled")


def _first_new(space: SearchSpace, drawn: Iterator[Point], tried: set[str]) -> Plan | None:
    """Return the first drawn point that is a recipe and new; after MOST_DRAWS the untried one nearest to the first draw."""
    is_finite = is_enumerable(space)
    first: Point | None = None
    for point in itertools.islice(drawn, MOST_DRAWS if is_finite else MOST_DRAWS_WITHOUT_GRID):
        first = point if first is None else first
        try:
            plan = plan_of(space, point)
        except CompressionError:
            continue
        if plan.key not in tried:
            return plan
    if not is_finite or first is None:
        return None
    left = [plan for plan in grid(space) if plan.key not in tried]
    near = first
    return min(left, key=lambda plan: distance(space, plan.point, near), default=None)


def distance(space: SearchSpace, first: Point, second: Point) -> float:
    """Return the sum over axes of how far apart two points are: 0 to 1 along numbers, 0 or 1 between choices."""
    return sum(
        float(first[axis.name] != second[axis.name])
        if axis.kind == "categorical"
        else abs(axis.position(first[axis.name]) - axis.position(second[axis.name]))
        for axis in space.axes
    )


def _tried(spec: StudySpec, records: Sequence[TrialRecord]) -> set[str]:
    return {plan_of(spec.space, record.point).key for record in records}


def _untried(spec: StudySpec, records: Sequence[TrialRecord]) -> bool:
    tried = _tried(spec, records)
    return any(plan.key not in tried for plan in grid(spec.space))


def _situation(spec: StudySpec, records: Sequence[TrialRecord], known: Sequence[TrialRecord], number: int) -> Situation:
    best = _highest(spec, known)
    told = [
        Told(
            record.point,
            costs(spec, record),
            tuple(item.violation(record.values[item.metric].value) for item in spec.constraints),
        )
        for record in best.values()
    ]
    told_keys = set(best)
    pending = {_key(spec, record): record.point for record in records if _key(spec, record) not in told_keys}
    return Situation(
        space=spec.space,
        n_objectives=len(spec.objectives),
        told=tuple(told),
        pending=tuple(pending.values()),
        n_trials=spec.n_trials,
        seed=_seed(spec.seed, number),
    )


def _highest(spec: StudySpec, known: Sequence[TrialRecord]) -> dict[str, TrialRecord]:
    """Return for every point its complete trial at the highest level, in the order of the points' first trials."""
    levels = [level.name for level in spec.ladder.levels]
    found: dict[str, TrialRecord] = {}
    for record in known:
        key = _key(spec, record)
        if record.state == "complete" and (
            key not in found or levels.index(record.fidelity) > levels.index(found[key].fidelity)
        ):
            found[key] = record
    return found


def _key(spec: StudySpec, record: TrialRecord) -> str:
    return plan_of(spec.space, record.point).key


def _seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "big")
