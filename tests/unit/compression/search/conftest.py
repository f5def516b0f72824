"""A small space and searches over made-up figures that follow from the point alone."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from edgefleet_compression.search.axes import Point
from edgefleet_compression.search.estimates import Estimate
from edgefleet_compression.search.objectives import Metric, Objective
from edgefleet_compression.search.proposing import propose
from edgefleet_compression.search.space import SearchSpace, parse_space
from edgefleet_compression.search.study import StudySpec, TrialRecord, completed

SPACE: dict[str, Any] = {
    "axes": [
        {"kind": "float", "name": "channels", "low": 0.0, "high": 0.75, "step": 0.25},
        {
            "kind": "categorical",
            "name": "format",
            "choices": [{"value": "fp32", "means": None}, {"value": "int8", "means": {"kind": "quantize"}}],
        },
        {"kind": "categorical", "name": "target", "choices": [{"value": "a"}, {"value": "b"}]},
    ],
    "passes": [
        {
            "spec": {"kind": "structured_prune", "amount": {"$axis": "channels"}},
            "unless": [{"channels": [0.0]}],
        },
        {"spec": {"$axis": "format"}},
    ],
    "targets": [{"name": "a", "precisions": ["fp32", "int8"]}, {"name": "b", "precisions": ["fp32"]}],
}
"""16 points, 12 of them recipes: target b computes no int8."""

OBJECTIVES = (
    Objective(metric="accuracy", best=1.0, worst=0.0),
    Objective(metric="size_bytes", best=0.0, worst=120.0),
)


def figures(point: Point) -> dict[Metric, Estimate]:
    """Fewer channels and integers are smaller and less accurate; target b has files a tenth larger."""
    left = 1.0 - float(point["channels"])
    is_int8 = point["format"] == "int8"
    return {
        "accuracy": Estimate(1.0 - (1.0 - left) ** 2 - 0.02 * is_int8),
        "size_bytes": Estimate(100.0 * left * (0.25 if is_int8 else 1.0) * (1.1 if point["target"] == "b" else 1.0)),
    }


@pytest.fixture
def document() -> dict[str, Any]:
    return copy.deepcopy(SPACE)


@pytest.fixture
def space() -> SearchSpace:
    return parse_space(SPACE)


@pytest.fixture(name="figures")
def _figures() -> Callable[[Point], dict[Metric, Estimate]]:
    return figures


@pytest.fixture
def spec_with(space: SearchSpace) -> Callable[..., StudySpec]:
    def make(**changes: Any) -> StudySpec:
        return StudySpec(
            **{"objectives": OBJECTIVES, "space": space, "n_trials": 12, "seed": 1, "sampler": "random", **changes}
        )

    return make


@pytest.fixture
def run_all() -> Callable[..., list[TrialRecord]]:
    """Carry a search out to its end, from a history on."""

    def run(spec: StudySpec, history: Sequence[TrialRecord] = ()) -> list[TrialRecord]:
        records = list(history)
        while proposals := propose(spec, records, 1):
            records.append(completed(spec, proposals[0], figures(proposals[0].point)))
        return records

    return run
