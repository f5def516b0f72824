"""A search as values: what is asked for, what was tried, what is proposed. Torch-free.

``proposing.propose`` and ``proposing.finished`` are pure functions of a spec and its history.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.passes.specs.base import Spec
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.search.axes import Value
from edgefleet_compression.search.estimates import Estimate
from edgefleet_compression.search.fidelity import Ladder
from edgefleet_compression.search.hypervolume import Box
from edgefleet_compression.search.objectives import Constraint, Metric, Objective, check_objectives, frame_of
from edgefleet_compression.search.space import Cause, SearchSpace, plan_of

SamplerName = Literal["tpe", "nsga2", "random"]
Origin = Literal["warm_start", "sampled", "promoted"]
State = Literal["running", "complete", "failed", "pruned"]


class StudySpec(Spec):
    """One search on one kind of board."""

    objectives: tuple[Objective, ...] = Field(min_length=1)
    constraints: tuple[Constraint, ...] = Field((), max_length=16)
    goals: tuple[Constraint, ...] = Field(
        (),
        max_length=16,
        description="The search ends when one result at full fidelity keeps to these and the constraints.",
    )
    space: SearchSpace
    n_trials: int = Field(ge=1, le=10_000, description="Budget, in trials at the last level of the ladder.")
    seed: int = Field(0, ge=0, lt=2**31)
    sampler: SamplerName = "tpe"
    batch: int = Field(1, ge=1, le=256, description="Trials that may run at once.")
    order: Literal["fixed", "free"] = Field(
        "fixed",
        description="fixed: trial m is proposed from the results of trials up to m - batch alone, so that the search takes the same "
        "course whichever trial ends first; free: from all results at hand, and no trial waits for another.",
    )
    ladder: Ladder = Field(default_factory=Ladder)
    warm_starts: tuple[dict[str, Value], ...] = Field(
        (), max_length=256, description="Points to try first, in this order."
    )

    @model_validator(mode="after")
    def _is_possible(self) -> "StudySpec":
        check_objectives(self.objectives, self.constraints)
        check_objectives(self.objectives, (*self.constraints, *self.goals))
        for point in self.warm_starts:
            plan_of(self.space, point)
        return self

    @property
    def frame(self) -> Box | None:
        """The fixed frame of the objectives; None where one has none."""
        return frame_of(self.objectives)


class Measured(Spec):
    """A figure of a trial with its standard error, in the metric's unit; 0: known exactly."""

    value: float
    standard_error: float = Field(0.0, ge=0.0)

    @classmethod
    def of(cls, estimate: Estimate) -> Self:
        """Return the estimate as a document."""
        return cls(value=estimate.value, standard_error=estimate.standard_error)

    @property
    def estimate(self) -> Estimate:
        """The figure as dominance needs it."""
        return Estimate(self.value, self.standard_error)


class Proposal(Spec):
    """A trial to be carried out."""

    number: int = Field(ge=0)
    point: dict[str, Value]
    recipe: Recipe = Field(description="With the level's share of training.")
    target: str
    fidelity: str = Field(description="Name of a level of the ladder.")
    origin: Origin = "sampled"
    promoted_from: int | None = Field(None, description="Number of the trial of the same point one level below.")


class TrialRecord(Spec):
    """A trial as the history keeps it."""

    number: int = Field(ge=0)
    point: dict[str, Value]
    fidelity: str
    state: State
    values: dict[Metric, Measured] = Field(default_factory=dict)
    cause: Cause | None = Field(None, description="Of failed and pruned trials: why.")
    promoted_from: int | None = None

    @model_validator(mode="after")
    def _says_why(self) -> "TrialRecord":
        if (self.cause is None) == (self.state in ("failed", "pruned")):
            raise PydanticCustomError("cause_missing", "Failed and pruned trials have a cause, others none.")
        return self

    @property
    def estimates(self) -> dict[Metric, Estimate]:
        """The figures as dominance needs them."""
        return {metric: measured.estimate for metric, measured in self.values.items()}


def started(proposal: Proposal) -> TrialRecord:
    """Return the record of a trial that is being carried out."""
    return TrialRecord(
        number=proposal.number,
        point=proposal.point,
        fidelity=proposal.fidelity,
        state="running",
        promoted_from=proposal.promoted_from,
    )


def failed(proposal: Proposal | TrialRecord, cause: Cause) -> TrialRecord:
    """Return the record of a trial that came to nothing."""
    return _ended(proposal, "failed", {}, cause)


def completed(
    spec: StudySpec, proposal: Proposal | TrialRecord, values: Mapping[Metric, Estimate | float | None]
) -> TrialRecord:
    """Return the record of a trial with these figures.

    It is a failed one with the cause ``objective_unknown`` or ``objective_not_finite`` where an objective's or a constraint's figure is
    missing or no number: such figures never reach the sampler. Other figures that are no numbers are left out.
    """
    known: dict[Metric, Measured] = {}
    for metric, value in values.items():
        if isinstance(value, Estimate):
            known[metric] = Measured.of(value)
        elif value is not None and math.isfinite(value):
            known[metric] = Measured(value=value)
    for metric in needed_metrics(spec):
        if metric not in known:
            is_missing = values.get(metric) is None
            code = "objective_unknown" if is_missing else "objective_not_finite"
            what = "was not measured" if is_missing else "is not a finite number"
            return _ended(proposal, "failed", known, Cause(code=code, message=f"{metric} {what}."))
    return _ended(proposal, "complete", known, None)


def needed_metrics(spec: StudySpec) -> tuple[Metric, ...]:
    """Return the metrics that a trial must have figures of."""
    metrics = [*(item.metric for item in spec.objectives), *(item.metric for item in spec.constraints)]
    return tuple(dict.fromkeys(metrics))


def _ended(
    proposal: Proposal | TrialRecord, state: State, values: Mapping[Metric, Measured], cause: Cause | None
) -> TrialRecord:
    return TrialRecord(
        number=proposal.number,
        point=proposal.point,
        fidelity=proposal.fidelity,
        state=state,
        values=dict(values),
        cause=cause,
        promoted_from=proposal.promoted_from,
    )


def costs(spec: StudySpec, record: TrialRecord) -> tuple[float, ...]:
    """Return the objectives of a complete trial (n_objectives,), all minimised."""
    return tuple(item.cost(record.values[item.metric].value) for item in spec.objectives)


def at_full_fidelity(spec: StudySpec, history: Sequence[TrialRecord]) -> tuple[TrialRecord, ...]:
    """Return the complete trials of the ladder's last level, by number."""
    last = spec.ladder.levels[-1].name
    found = [record for record in history if record.state == "complete" and record.fidelity == last]
    return tuple(sorted(found, key=lambda record: record.number))
