"""A search over the finished table: every trial is looked up, so that many seeds cost seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.search_rows.resnet20 import OBJECTIVES
from tests.benchmarks.search_rows.table import Table

from edgefleet_compression.search.hypervolume import Box
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
class Course:
    """One seed of one sampler. shares: after every trial, the volume of what was found over that of the whole grid."""

    sampler: SamplerName
    seed: int
    shares: tuple[float, ...]
    keys: tuple[str, ...]


def spec_of(table: Table, sampler: SamplerName, seed: int, n_trials: int, batch: int = 1) -> StudySpec:
    """Return the search: frame and space are fixed by the table's baseline, before anything is tried."""
    baseline = {metric: estimate.value for metric, estimate in table.baseline.values().items()}
    objectives = framed(OBJECTIVES, baseline)
    return StudySpec(
        objectives=objectives, space=table.space, n_trials=n_trials, seed=seed, sampler=sampler, batch=batch
    )


def run(table: Table, sampler: SamplerName, seed: int, n_trials: int) -> Course:
    """Search with this budget; every proposal is made from the history alone."""
    spec = spec_of(table, sampler, seed, n_trials)
    history: list[TrialRecord] = []
    while proposals := propose(spec, history, 1):
        history.append(look_up(table, spec, proposals[0]))
    frame, whole = frame_and_volume(table, spec)
    shares = tuple(
        frame.share([costs(spec, record) for record in history[: count + 1] if record.state == "complete"]) / whole
        for count in range(len(history))
    )
    return Course(sampler, seed, shares, tuple(plan_of(table.space, record.point).key for record in history))


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
    every = [[item.cost(row.values()[item.metric].value) for item in spec.objectives] for row in table.rows.values()]
    return frame, frame.share(every)


def front_keys(table: Table) -> frozenset[str]:
    """Return the keys of the rows that no other row beats, by their values."""
    spec = spec_of(table, "random", 0, 1)
    points = {
        key: tuple(item.cost(row.values()[item.metric].value) for item in spec.objectives)
        for key, row in table.rows.items()
    }
    return frozenset(key for key, own in points.items() if not any(beats(other, own) for other in points.values()))


def median_share(courses: Sequence[Course], n_trials: int) -> float:
    """Return the median over seeds of the share after so many trials."""
    return median(course.shares[min(n_trials, len(course.shares)) - 1] for course in courses)


def trials_to(course: Course, share: float) -> int | None:
    """Return after how many trials the share was reached; None: not within the budget."""
    return next((count + 1 for count, own in enumerate(course.shares) if own >= share), None)
