"""Which trials are worth measuring again, and which of them is to be shipped by what the check found."""

from collections.abc import Mapping, Sequence

from edgefleet_compression.search.estimates import Estimate
from edgefleet_compression.search.objectives import Metric
from edgefleet_compression.search.ranking import by_merit
from edgefleet_compression.search.study import Measured, StudySpec, TrialRecord, at_full_fidelity, needed_metrics
from edgefleet_compression.search.summary import front_of


def choose_finalists(spec: StudySpec, history: Sequence[TrialRecord], n_most: int) -> list[TrialRecord]:
    """At most so many of the front's trials, best first; where none keeps the constraints, the one that is nearest."""
    front = [member.record for member in front_of(spec, history)]
    if not front:
        return by_merit(spec, at_full_fidelity(spec, history))[: min(1, n_most)]
    return by_merit(spec, front)[:n_most]


def remeasured(
    spec: StudySpec, history: Sequence[TrialRecord], values: Mapping[int, Mapping[Metric, Estimate]]
) -> list[TrialRecord]:
    """The finalists' records with their new figures; one that lacks a figure that is needed is left out.

    values: ordinal of a finalist -> what the check measured.
    """
    needed = needed_metrics(spec)
    return [
        record.model_copy(
            update={"values": {metric: Measured.of(value) for metric, value in values[record.number].items()}}
        )
        for record in history
        if record.number in values and all(metric in values[record.number] for metric in needed)
    ]
