"""Objectives and constraints: directions, bounds, frames, and what cannot be searched."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from edgefleet_compression.errors import SearchInvalid
from edgefleet_compression.search.estimates import Estimate
from edgefleet_compression.search.objectives import (
    Constraint,
    Objective,
    Reachable,
    check_objectives,
    frame_of,
    framed,
    is_feasible,
    probability_feasible,
    violations,
)

SMALL = Constraint(metric="size_bytes", maximum=100.0)
GOOD = Constraint(metric="accuracy", minimum=0.8)


def refusal(call: Callable[[], Any]) -> str:
    with pytest.raises(SearchInvalid) as caught:
        call()
    return caught.value.code


class TestRefusals:
    def test_no_objective_too_many_or_one_twice(self) -> None:
        assert refusal(lambda: check_objectives([])) == "objectives_missing"
        every = [
            Objective(metric=name) for name in ("accuracy", "size_bytes", "latency_p50_ms", "energy_mj", "retention")
        ]
        assert refusal(lambda: check_objectives(every)) == "objectives_too_many"
        assert refusal(lambda: check_objectives([every[0], every[0]])) == "objective_repeated"

    def test_energy_without_a_sensor_says_why(self) -> None:
        with pytest.raises(SearchInvalid, match="pi-3 has no energy sensor") as caught:
            check_objectives([Objective(metric="energy_mj")], unmeasurable={"energy_mj": "pi-3 has no energy sensor"})
        assert caught.value.code == "objective_not_measurable"

    def test_constraint_on_what_nobody_measures_is_refused_alike(self) -> None:
        constraint = Constraint(metric="energy_mj", maximum=30.0)
        call = lambda: check_objectives(  # noqa: E731 - one line reads better
            [Objective(metric="accuracy")], [constraint], unmeasurable={"energy_mj": "no sensor"}
        )
        assert refusal(call) == "objective_not_measurable"

    def test_bounds_that_exclude_each_other(self) -> None:
        large = Constraint(metric="size_bytes", minimum=101.0)
        assert refusal(lambda: check_objectives([Objective(metric="accuracy")], [SMALL, large])) == (
            "constraints_contradict"
        )

    def test_bounds_beyond_what_can_be_reached(self) -> None:
        objectives = [Objective(metric="size_bytes")]
        reachable = {"size_bytes": Reachable(least=200.0)}
        assert refusal(lambda: check_objectives(objectives, [SMALL], reachable=reachable)) == "constraint_unreachable"  # type: ignore[arg-type]
        perfect = Constraint(metric="accuracy", minimum=1.1)
        assert refusal(lambda: check_objectives(objectives, [perfect])) == "constraint_unreachable"

    @pytest.mark.parametrize("bounds", [{}, {"maximum": 1.0, "minimum": 0.0}])
    def test_a_constraint_has_one_bound(self, bounds: dict[str, float]) -> None:
        with pytest.raises(ValueError, match="either a maximum or a minimum"):
            Constraint(metric="size_bytes", **bounds)

    def test_a_frame_upside_down(self) -> None:
        with pytest.raises(ValueError, match="must be worse"):
            Objective(metric="accuracy", best=0.5, worst=0.9)
        with pytest.raises(ValueError, match="both ends"):
            Objective(metric="accuracy", best=0.5)


class TestFeasibility:
    def test_violation_is_relative_to_the_bound(self) -> None:
        assert violations([SMALL, GOOD], {"size_bytes": Estimate(150.0), "accuracy": Estimate(0.9)}) == {
            "size_bytes <= 100": pytest.approx(0.5),
            "accuracy >= 0.8": pytest.approx(-0.125),
        }

    def test_a_missing_figure_keeps_to_nothing(self) -> None:
        assert not is_feasible([SMALL, GOOD], {"size_bytes": Estimate(50.0)})
        assert probability_feasible([SMALL, GOOD], {"size_bytes": Estimate(50.0)}) == 0.0

    def test_a_figure_on_the_bound_keeps_to_it(self) -> None:
        assert is_feasible([SMALL], {"size_bytes": Estimate(100.0)})

    def test_probabilities_multiply(self) -> None:
        one_sigma = 0.8413447460685429  # of the standard normal, Abramowitz and Stegun, table 26.1
        values = {"size_bytes": Estimate(90.0, 10.0), "accuracy": Estimate(0.85, 0.05)}
        assert probability_feasible([SMALL, GOOD], values) == pytest.approx(one_sigma**2)  # type: ignore[arg-type]


class TestFrames:
    def test_what_is_maximised_is_turned_over(self) -> None:
        box = frame_of(
            [Objective(metric="accuracy", best=0.9, worst=0.5), Objective(metric="size_bytes", best=0, worst=8)]
        )
        assert box is not None
        assert (box.best, box.worst) == ((-0.9, 0.0), (-0.5, 8.0))

    def test_follows_from_the_baseline(self) -> None:
        objectives = framed(
            [Objective(metric="accuracy"), Objective(metric="size_bytes"), Objective(metric="latency_p50_ratio")],
            {"accuracy": 0.9, "size_bytes": 1000.0},
        )
        assert [(item.best, item.worst) for item in objectives] == [(0.9, 0.45), (0.0, 1000.0), (0.0, 1.0)]

    def test_a_given_one_is_kept(self) -> None:
        given = Objective(metric="accuracy", best=1.0, worst=0.2)
        assert framed([given], {}) == (given,)

    @pytest.mark.parametrize("value", [None, 0.0, math.nan])
    def test_needs_the_baselines_figure(self, value: float | None) -> None:
        baseline = {} if value is None else {"energy_mj": value}
        assert refusal(lambda: framed([Objective(metric="energy_mj")], baseline)) == "frame_unknown"  # type: ignore[arg-type]
