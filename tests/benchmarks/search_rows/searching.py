"""A search over the finished table: every trial is looked up, so that many seeds cost seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType
from typing import Final

from tests.benchmarks.search_rows.resnet20 import OBJECTIVES
from tests.benchmarks.search_rows.table import GridRow, Table

from edgefleet_compression.search.deriving import first_points
from edgefleet_compression.search.hypervolume import Box, attained
from edgefleet_compression.search.objectives import framed
from edgefleet_compression.search.proposing import propose
from edgefleet_compression.search.ranking import beats
from edgefleet_compression.search.space import Cause, plan_of
from edgefleet_compression.search.study import (
    Proposal,
    SamplerName,
    StudySpec,
    TrialRecord,
    completed,
    costs,
    failed,
)


@dataclass(frozen=True)
class Arm:
    """A way to search. begins_known: with the points that the product begins with (``deriving.first_points``)."""

    sampler: SamplerName
    begins_known: bool = False


ARMS: Final[Mapping[str, Arm]] = MappingProxyType(
    {
        "search": Arm("tpe", begins_known=True),
        "tpe": Arm("tpe"),
        "random": Arm("random"),
        "random_begun_known": Arm("random", begins_known=True),
        "nsga2": Arm("nsga2"),
    }
)
"""search: the product's own; the others are its controls and its parts."""


@dataclass(frozen=True)
class Course:
    """One seed of one arm. shares: after every trial, the volume of what was found over that of the whole grid."""

    arm: str
    seed: int
    shares: tuple[float, ...]
    keys: tuple[str, ...]


def spec_of(table: Table, arm: Arm, seed: int, n_trials: int) -> StudySpec:
    """Return the search: frame and space are fixed by the table's baseline, before anything is tried."""
    baseline = {metric: estimate.value for metric, estimate in table.baseline.values().items()}
    objectives = framed(OBJECTIVES, baseline)
    starts = first_points(table.space) if arm.begins_known else ()
    return StudySpec(
        objectives=objectives,
        space=table.space,
        n_trials=n_trials,
        seed=seed,
        sampler=arm.sampler,
        warm_starts=starts,
    )


def run(table: Table, arm: str, seed: int, n_trials: int) -> Course:
    """Search with this budget; every proposal is made from the history alone."""
    spec = spec_of(table, ARMS[arm], seed, n_trials)
    history: list[TrialRecord] = []
    while proposals := propose(spec, history, 1):
        history.append(look_up(table, spec, proposals[0]))
    frame, whole = frame_and_volume(table, spec)
    shares = tuple(
        frame.share([costs(spec, record) for record in history[: count + 1] if record.state == "complete"]) / whole
        for count in range(len(history))
    )
    return Course(arm, seed, shares, tuple(plan_of(table.space, record.point).key for record in history))


def look_up(table: Table, spec: StudySpec, proposal: Proposal) -> TrialRecord:
    """Return the trial with the table's figures, a failed one where the recipe could not be carried out."""
    row = table.rows.get(plan_of(table.space, proposal.point).key)
    if row is None:
        return failed(proposal, Cause(code="refused", message="The recipe could not be carried out."))
    return completed(spec, proposal, row.values())


def frame_and_volume(table: Table, spec: StudySpec) -> tuple[Box, float]:
    """Return the frame and the share of it that the whole grid dominates."""
    frame = spec.frame
    assert frame is not None
    return frame, frame.share([_costs(spec, row) for row in table.rows.values()])


def front_keys(table: Table) -> frozenset[str]:
    """Return the keys of the rows that no other row beats, by their values."""
    spec = spec_of(table, ARMS["random"], 0, 1)
    points = {key: _costs(spec, row) for key, row in table.rows.items()}
    return frozenset(key for key, own in points.items() if not any(beats(other, own) for other in points.values()))


def attained_front(table: Table, spec: StudySpec, courses: Sequence[Course]) -> list[dict[str, float]]:
    """Return the points that bound what half of the seeds attain, in the objectives' own units."""
    fronts = [[_costs(spec, table.rows[key]) for key in course.keys if key in table.rows] for course in courses]
    surface = attained(fronts, share=0.5)
    return [
        {item.metric: round(item.cost(float(value)), 6) for item, value in zip(spec.objectives, point, strict=True)}
        for point in surface
    ]


def _costs(spec: StudySpec, row: GridRow) -> tuple[float, ...]:
    return tuple(item.cost(row.values()[item.metric].value) for item in spec.objectives)


def median_share(courses: Sequence[Course], n_trials: int) -> float:
    """Return the median over seeds of the share after so many trials."""
    return median(course.shares[min(n_trials, len(course.shares)) - 1] for course in courses)


def trials_to(course: Course, share: float) -> int | None:
    """Return after how many trials the share was reached; None: not within the budget."""
    return next((count + 1 for count, own in enumerate(course.shares) if own >= share), None)
