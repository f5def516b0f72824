"""What a search is after, what it must keep to, and whether anybody can measure that. Torch-free."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, get_args

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.errors import SearchInvalid
from edgefleet_compression.passes.specs.base import Spec
from edgefleet_compression.search.estimates import Estimate, probability_at_most
from edgefleet_compression.search.hypervolume import MOST_OBJECTIVES, Box

Metric = Literal[
    "accuracy",
    "retention",
    "size_bytes",
    "latency_p50_ms",
    "latency_p90_ms",
    "latency_p50_ratio",
    "energy_mj",
    "peak_memory_bytes",
]
METRIC_NAMES: Final[tuple[Metric, ...]] = get_args(Metric)


@dataclass(frozen=True)
class MetricFacts:
    """is_maximised: more is better. of_device: only a run on the board knows it. is_share: lies in [0, 1]."""

    is_maximised: bool
    of_device: bool
    description: str
    is_share: bool = False


METRICS: Final[Mapping[Metric, MetricFacts]] = MappingProxyType(
    {
        "accuracy": MetricFacts(True, False, "of the compiled file, on data that no report is made of", is_share=True),
        "retention": MetricFacts(True, False, "accuracy over the uncompressed model's"),
        "size_bytes": MetricFacts(False, False, "of the compiled file"),
        "latency_p50_ms": MetricFacts(False, True, "median of one inference"),
        "latency_p90_ms": MetricFacts(False, True, "90th percentile of one inference"),
        "latency_p50_ratio": MetricFacts(False, True, "median over that of a reference measured in turns with it"),
        "energy_mj": MetricFacts(False, True, "of one inference, the board's idle power subtracted"),
        "peak_memory_bytes": MetricFacts(False, True, "of the process that runs the file"),
    }
)


class Objective(Spec):
    """A metric to be made as good as possible. best and worst: the fixed frame in which fronts are compared."""

    metric: Metric = Field(description="What is to be good; the metric decides which way is better.")
    best: float | None = Field(None, description="Value at which better no longer counts; null: no frame yet.")
    worst: float | None = Field(
        None, description="Value at or beyond which a point counts nothing; null: no frame yet."
    )

    @model_validator(mode="after")
    def _frame_has_inside(self) -> "Objective":
        if (self.best is None) != (self.worst is None):
            raise PydanticCustomError("frame_invalid", "A frame has both ends: give best and worst, or neither.")
        if self.best is not None and self.worst is not None and not self.cost(self.best) < self.cost(self.worst):
            raise PydanticCustomError("frame_invalid", "The worst value of a frame must be worse than its best.")
        return self

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Which way is better; the metric decides."""
        return "maximize" if METRICS[self.metric].is_maximised else "minimize"

    def cost(self, value: float) -> float:
        """Return the value so that less is better."""
        return -value if METRICS[self.metric].is_maximised else value

    def cost_estimate(self, value: Estimate) -> Estimate:
        """Return the estimate so that less is better."""
        return value.negated() if METRICS[self.metric].is_maximised else value


class Constraint(Spec):
    """A bound that a result must keep to: exactly one of maximum and minimum."""

    metric: Metric = Field(description="What is bounded.")
    maximum: float | None = Field(None, description="Largest value that is kept; null: no upper bound.")
    minimum: float | None = Field(None, description="Smallest value that is kept; null: no lower bound.")

    @model_validator(mode="after")
    def _one_bound(self) -> "Constraint":
        if (self.maximum is None) == (self.minimum is None):
            raise PydanticCustomError("bound_ambiguous", "A constraint has either a maximum or a minimum.")
        return self

    @property
    def bound(self) -> float:
        """The one that is given."""
        given = self.maximum if self.maximum is not None else self.minimum
        assert given is not None
        return given

    def violation(self, value: float) -> float:
        """Return how far beyond the bound a value lies, over the bound's size; at or below 0 it is kept."""
        beyond = value - self.bound if self.maximum is not None else self.bound - value
        return beyond / (abs(self.bound) or 1.0)

    def probability_kept(self, value: Estimate) -> float:
        """Return the probability that the quantity keeps to the bound."""
        bound = Estimate(self.bound)
        return probability_at_most(value, bound) if self.maximum is not None else probability_at_most(bound, value)

    def __str__(self) -> str:
        return f"{self.metric} {'<=' if self.maximum is not None else '>='} {self.bound:g}"


@dataclass(frozen=True)
class Reachable:
    """The least and the most that a metric can come to in this space on this board, known before the search."""

    least: float = -math.inf
    most: float = math.inf


def check_objectives(
    objectives: Sequence[Objective],
    constraints: Sequence[Constraint] = (),
    *,
    unmeasurable: Mapping[Metric, str] | None = None,
    reachable: Mapping[Metric, Reachable] | None = None,
) -> None:
    """Raise SearchInvalid for what cannot be searched.

    unmeasurable: metric -> why nobody can measure it ("device pi-3 has no energy sensor"); reachable: what is known of the
    metrics beforehand. Codes: ``objectives_missing``, ``objectives_too_many``, ``objective_repeated``,
    ``objective_not_measurable``, ``constraints_contradict``, ``constraint_unreachable``.
    """
    metrics = [objective.metric for objective in objectives]
    if not metrics:
        raise SearchInvalid("A search needs at least one objective, such as accuracy.", code="objectives_missing")
    if len(metrics) > MOST_OBJECTIVES:
        raise SearchInvalid(
            f"{len(metrics)} objectives: at most {MOST_OBJECTIVES}; make constraints of the others.",
            code="objectives_too_many",
        )
    if len(set(metrics)) != len(metrics):
        raise SearchInvalid("An objective is named twice.", code="objective_repeated")
    for metric in (*metrics, *(constraint.metric for constraint in constraints)):
        if unmeasurable and metric in unmeasurable:
            raise SearchInvalid(
                f"Nobody can measure {metric}: {unmeasurable[metric]}. Leave it out, or add a board that can.",
                code="objective_not_measurable",
                detail={"metric": metric, "reason": unmeasurable[metric]},
            )
    for metric in {constraint.metric: None for constraint in constraints}:
        _check_bounds(metric, constraints, (reachable or {}).get(metric, Reachable()))


def _check_bounds(metric: Metric, constraints: Sequence[Constraint], known: Reachable) -> None:
    own = [constraint for constraint in constraints if constraint.metric == metric]
    most = min((item.maximum for item in own if item.maximum is not None), default=math.inf)
    least = max((item.minimum for item in own if item.minimum is not None), default=-math.inf)
    if least > most:
        raise SearchInvalid(
            f"{metric} cannot be at least {least:g} and at most {most:g}: drop one of the two bounds.",
            code="constraints_contradict",
            detail={"metric": metric, "minimum": least, "maximum": most},
        )
    facts = METRICS[metric]
    possible = Reachable(
        max(known.least, 0.0), min(known.most, 1.0) if facts.is_share else known.most
    )  # no metric of ours is negative
    if most < possible.least or least > possible.most:
        bound, end = (most, possible.least) if most < possible.least else (least, possible.most)
        raise SearchInvalid(
            f"{metric} cannot reach {bound:g}: the {'least' if end == possible.least else 'most'} possible here is {end:g}. Loosen the "
            "bound, or choose a smaller model, another target or more techniques.",
            code="constraint_unreachable",
            detail={"metric": metric, "bound": bound, "possible": end},
        )


def violations(constraints: Sequence[Constraint], values: Mapping[Metric, Estimate]) -> dict[str, float]:
    """Return constraint -> its relative violation by the values at hand; a metric without a value is left out."""
    return {str(item): item.violation(values[item.metric].value) for item in constraints if item.metric in values}


def is_feasible(constraints: Sequence[Constraint], values: Mapping[Metric, Estimate]) -> bool:
    """Return True if every constraint's metric has a value that keeps to it."""
    return all(item.metric in values and item.violation(values[item.metric].value) <= 0 for item in constraints)


def probability_feasible(constraints: Sequence[Constraint], values: Mapping[Metric, Estimate]) -> float:
    """Return the probability that all constraints are kept, errors independent; 0 where a metric has no value."""
    if any(item.metric not in values for item in constraints):
        return 0.0
    return math.prod(item.probability_kept(values[item.metric]) for item in constraints)


def frame_of(objectives: Sequence[Objective]) -> Box | None:
    """Return the fixed frame of the objectives, all minimised; None where one has none."""
    if any(objective.best is None or objective.worst is None for objective in objectives):
        return None
    pairs = [(item.cost(item.best or 0.0), item.cost(item.worst or 0.0)) for item in objectives]
    return Box(tuple(best for best, _ in pairs), tuple(worst for _, worst in pairs))


def framed(objectives: Sequence[Objective], baseline: Mapping[Metric, float]) -> tuple[Objective, ...]:
    """Return the objectives with frames where they have none: from the uncompressed model's own values.

    What is minimised counts from the baseline's value down to 0; accuracy and retention from half the baseline's up to
    the baseline's own. Raises SearchInvalid ``frame_unknown`` where the baseline lacks a metric.
    """
    return tuple(_framed(objective, baseline) for objective in objectives)


def _framed(objective: Objective, baseline: Mapping[Metric, float]) -> Objective:
    if objective.best is not None:
        return objective
    own = 1.0 if objective.metric in ("retention", "latency_p50_ratio") else baseline.get(objective.metric)
    if own is None or not own > 0:
        raise SearchInvalid(
            f"The frame of {objective.metric} follows from the uncompressed model's value, which is not known: measure it first.",
            code="frame_unknown",
        )
    best, worst = (own, own / 2) if METRICS[objective.metric].is_maximised else (0.0, own)
    return objective.model_copy(update={"best": best, "worst": worst})
