"""What to try next, and when to stop: pure functions of a search and its history.

Every proposal is computed from the spec and the records alone, with a random stream of its own that follows from the
spec's seed and the trial's number. So whoever holds the history goes on as if nothing had happened.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

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


@dataclass(frozen=True)
class _Course:
    """A search so far. keys: of the records' plans, in the same order."""

    spec: StudySpec
    records: tuple[TrialRecord, ...]
    keys: tuple[str, ...]

    @classmethod
    def of(cls, spec: StudySpec, history: Sequence[TrialRecord]) -> Self:
        """Return the checked history; raises SearchInvalid ``history_invalid``."""
        records = sorted(history, key=lambda record: record.number)
        levels = {level.name for level in spec.ladder.levels}
        if [record.number for record in records] != list(range(len(records))):
            raise SearchInvalid("The history needs every trial from number 0 on once.", code="history_invalid")
        odd = next((record for record in records if record.fidelity not in levels), None)
        if odd is not None:
            raise SearchInvalid(
                f"Trial {odd.number} has the fidelity {odd.fidelity}, which the ladder lacks.", code="history_invalid"
            )
        return cls(spec, tuple(records), tuple(plan_of(spec.space, record.point).key for record in records))

    def running(self) -> list[TrialRecord]:
        """The trials under way."""
        return [record for record in self.records if record.state == "running"]

    def left(self) -> float:
        """What is left of the budget, in trials at the last level."""
        return self.spec.n_trials - budget_used(self.spec, self.records) + 1e-9

    def and_then(self, proposal: Proposal) -> "_Course":
        """Return the course with one more trial under way."""
        key = plan_of(self.spec.space, proposal.point).key
        return replace(self, records=(*self.records, started(proposal)), keys=(*self.keys, key))

    def known(self) -> "_Course | None":
        """Return the finished trials that the next one may look at; None while one of them is still running."""
        if self.spec.order == "free":
            places = [place for place, record in enumerate(self.records) if record.state != "running"]
        else:
            places = list(range(max(0, len(self.records) - self.spec.batch + 1)))
        if any(self.records[place].state == "running" for place in places):
            return None
        return replace(
            self,
            records=tuple(self.records[place] for place in places),
            keys=tuple(self.keys[place] for place in places),
        )


def propose(spec: StudySpec, history: Sequence[TrialRecord], n: int) -> tuple[Proposal, ...]:
    """Return at most n new trials, fewer where the batch is full, the search is finished, or trials have to be awaited first.

    Asking for n at once gives what asking one by one would. Raises SearchInvalid ``history_invalid`` for records that are not
    this search's.
    """
    course = _Course.of(spec, history)
    found: list[Proposal] = []
    while len(found) < n and (proposal := _next(course)) is not None:
        found.append(proposal)
        course = course.and_then(proposal)
    return tuple(found)


def finished(spec: StudySpec, history: Sequence[TrialRecord]) -> Cause | None:
    """Return why nothing more will be proposed; None while something may. Trials may still be running.

    Codes: ``target_reached``, ``budget_used``, ``space_exhausted``.
    """
    return _ending(_Course.of(spec, history))


def budget_used(spec: StudySpec, history: Sequence[TrialRecord]) -> float:
    """Return what the trials cost, those that failed or run included, in trials at the last level."""
    return sum(spec.ladder.level(record.fidelity).cost for record in history)


def _ending(course: _Course) -> Cause | None:
    spec = course.spec
    if spec.goals:
        wanted = (*spec.constraints, *spec.goals)
        for record in at_full_fidelity(spec, course.records):
            if is_feasible(wanted, record.estimates):
                return Cause(code="target_reached", message=f"Trial {record.number} keeps to every goal.")
    if course.left() < spec.ladder.levels[0].cost:
        return Cause(code="budget_used", message=f"The budget of {spec.n_trials} trials is used up.")
    if not course.running() and is_enumerable(spec.space):
        tried = set(course.keys)
        if all(plan.key in tried for plan in grid(spec.space)) and _promotion(course, course) is None:
            return Cause(code="space_exhausted", message="Every recipe of the space has been tried.")
    return None


def _next(course: _Course) -> Proposal | None:
    """Return the trial after the last, or None."""
    if len(course.running()) >= course.spec.batch or _ending(course) is not None:
        return None
    known = course.known()
    if known is None:
        return None
    promotion = _promotion(course, known)
    if promotion is not None:
        record, level = promotion
        if level.cost <= course.left():
            plan = plan_of(course.spec.space, record.point)
            return _proposal(plan, level, len(course.records), "promoted", record.number)
    return _fresh(course, known)


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


def _promotion(course: _Course, known: _Course) -> tuple[TrialRecord, FidelityLevel] | None:
    """Return the best known trial that deserves the next level and has not had it, highest level first."""
    spec = course.spec
    had = {record.promoted_from for record in course.records}
    for below, above in reversed(list(itertools.pairwise(spec.ladder.levels))):
        complete = [record for record in known.records if record.state == "complete" and record.fidelity == below.name]
        n_best = int(len(complete) * spec.ladder.keep + 1e-9)
        for record in by_merit(spec, complete)[:n_best]:
            if record.number not in had:
                return record, above
    return None


def _fresh(course: _Course, known: _Course) -> Proposal | None:
    spec, number, tried = course.spec, len(course.records), set(course.keys)
    level = spec.ladder.levels[0]
    for point in spec.warm_starts:
        plan = plan_of(spec.space, point)
        if plan.key not in tried:
            return _proposal(plan, level, number, "warm_start")
    found = _first_new(spec.space, SAMPLERS[spec.sampler](_situation(course, known)), tried)
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


def _situation(course: _Course, known: _Course) -> Situation:
    spec, best = course.spec, _highest(known)
    told = [
        Told(
            record.point,
            costs(spec, record),
            tuple(item.violation(record.values[item.metric].value) for item in spec.constraints),
        )
        for record in best.values()
    ]
    pending = {key: record.point for key, record in zip(course.keys, course.records, strict=True) if key not in best}
    return Situation(
        space=spec.space,
        n_objectives=len(spec.objectives),
        told=tuple(told),
        pending=tuple(pending.values()),
        n_trials=spec.n_trials,
        seed=_seed(spec.seed, len(course.records)),
    )


def _highest(known: _Course) -> dict[str, TrialRecord]:
    """Return for every point its complete trial at the highest level, in the order of the points' first trials."""
    levels = [level.name for level in known.spec.ladder.levels]
    found: dict[str, TrialRecord] = {}
    for key, record in zip(known.keys, known.records, strict=True):
        if record.state == "complete" and (
            key not in found or levels.index(record.fidelity) > levels.index(found[key].fidelity)
        ):
            found[key] = record
    return found


def _seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "big")
