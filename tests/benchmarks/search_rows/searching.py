"""A search over the finished table: every trial is looked up, so that many seeds cost seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.benchmarks.search_rows.resnet20 import OBJECTIVES
from tests.benchmarks.search_rows.table import Table

from edgefleet_compression.search.hypervolume import Box
from edgefleet_compression.search.objectives import framed
from edgefleet_compression.search.proposing import propose
from edgefleet_compression.search.study import SamplerName, StudySpec, TrialRecord, completed, costs


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
        history.append(completed(spec, proposals[0], table.row(proposals[0].point).values()))
    frame, whole = frame_and_volume(table, spec)
    points = [costs(spec, record) for record in history]
    shares = tuple(frame.share(points[: count + 1]) / whole for count in range(len(points)))
    return Course(sampler, seed, shares, tuple(table.row(record.point).sha256 for record in history))


def frame_and_volume(table: Table, spec: StudySpec) -> tuple[Box, float]:
    """Return the frame and the share of it that the whole grid dominates."""
    frame = spec.frame
    assert frame is not None
    every = [[item.cost(row.values()[item.metric].value) for item in spec.objectives] for row in table.rows.values()]
    return frame, frame.share(every)


def median_share(courses: Sequence[Course], n_trials: int) -> float:
    """Return the median over seeds of the share after so many trials."""
    return median(course.shares[min(n_trials, len(course.shares)) - 1] for course in courses)


def trials_to(course: Course, share: float) -> int | None:
    """Return after how many trials the share was reached; None: not within the budget."""
    return next((count + 1 for count, own in enumerate(course.shares) if own >= share), None)
