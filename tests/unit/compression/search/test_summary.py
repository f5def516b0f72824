"""Fronts of searches, volumes trial by trial, recommendations, boards that disagree, shared prefixes."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from edgefleet_compression.passes.specs import Budget, Calibration, Quantize, StructuredPrune, Train
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.search.estimates import Estimate
from edgefleet_compression.search.objectives import Constraint
from edgefleet_compression.search.prefixes import grouped, prefix_keys, shared_prefix
from edgefleet_compression.search.proposing import propose
from edgefleet_compression.search.ranking import non_dominated_ranks
from edgefleet_compression.search.recommend import recommend
from edgefleet_compression.search.space import Cause
from edgefleet_compression.search.study import Measured, Proposal, StudySpec, TrialRecord, failed
from edgefleet_compression.search.summary import across_boards, front_of, volume_by_trial

MakeSpec = Callable[..., StudySpec]


def trial(number: int, accuracy: float, size: float, error: float = 0.0) -> TrialRecord:
    return TrialRecord(
        number=number,
        point={"channels": 0.0, "format": "fp32", "target": "a"},
        fidelity="full",
        state="complete",
        values={
            "accuracy": Measured(value=accuracy, standard_error=error),
            "size_bytes": Measured(value=size),
        },
    )


class TestFronts:
    def test_holds_what_nothing_beats(self, spec_with: MakeSpec) -> None:
        history = [trial(0, 0.9, 60.0), trial(1, 0.8, 30.0), trial(2, 0.8, 60.0)]
        assert [member.record.number for member in front_of(spec_with(), history)] == [0, 1]

    def test_keeps_what_cannot_be_told_apart(self, spec_with: MakeSpec) -> None:
        history = [trial(0, 0.90, 60.0, error=0.02), trial(1, 0.89, 60.0, error=0.02)]
        front = front_of(spec_with(), history)
        assert [member.record.number for member in front] == [0, 1]
        assert front[1].probability_dominated == pytest.approx(0.6382, abs=1e-4)  # Phi(0.01 / 0.02828)

    def test_leaves_out_what_breaks_a_constraint(self, spec_with: MakeSpec) -> None:
        spec = spec_with(constraints=(Constraint(metric="size_bytes", maximum=50.0),))
        assert [member.record.number for member in front_of(spec, [trial(0, 0.9, 60.0), trial(1, 0.8, 30.0)])] == [1]

    def test_ranks_peel_front_by_front(self) -> None:
        assert non_dominated_ranks([(1, 4), (4, 1), (2, 5), (3, 6), (1, 4)]) == [0, 0, 1, 2, 0]

    def test_volume_never_falls_and_ends_at_the_fronts(self, spec_with: MakeSpec, run_all: Any) -> None:
        spec = spec_with()
        shares = volume_by_trial(spec, run_all(spec))
        assert len(shares) == 12
        assert list(shares) == sorted(shares)
        # one trial of accuracy 0.9 and 60 of 120 bytes dominates 0.9 x 0.5 of the frame
        assert list(volume_by_trial(spec, [trial(0, 0.9, 60.0)])) == pytest.approx([0.45])


class TestRecommendation:
    def test_is_nearest_to_the_best_corner(self, spec_with: MakeSpec) -> None:
        history = [trial(0, 0.9, 90.0), trial(1, 0.8, 36.0), trial(2, 0.4, 12.0)]
        found = recommend(spec_with(), history)
        assert found.trial == 1
        assert found.distance == pytest.approx(math.hypot(0.2, 0.3))

    def test_prefers_what_surely_keeps_to_the_constraints(self, spec_with: MakeSpec) -> None:
        spec = spec_with(constraints=(Constraint(metric="accuracy", minimum=0.79),))
        history = [trial(0, 0.9, 90.0), trial(1, 0.8, 36.0, error=0.05)]
        found = recommend(spec, history)
        assert found.trial == 0
        assert found.probability_feasible == 1.0

    def test_says_how_sure_it_is_where_nothing_is(self, spec_with: MakeSpec) -> None:
        spec = spec_with(constraints=(Constraint(metric="accuracy", minimum=0.79),))
        found = recommend(spec, [trial(1, 0.8, 36.0, error=0.05)])
        assert found.trial == 1
        assert found.probability_feasible == pytest.approx(0.5793, abs=1e-4)  # Phi(0.2)
        assert any("none of the front is surer" in reason for reason in found.why)

    def test_names_the_nearest_where_nothing_keeps_to_the_constraints(self, spec_with: MakeSpec) -> None:
        spec = spec_with(constraints=(Constraint(metric="size_bytes", maximum=10.0),))
        found = recommend(spec, [trial(0, 0.9, 90.0), trial(1, 0.8, 36.0)])
        assert found.trial is None
        assert found.cause is not None
        assert (found.cause.code, found.nearest) == ("nothing_feasible", 1)
        assert "size_bytes <= 10" in found.cause.message

    def test_says_so_where_nothing_was_finished(self, spec_with: MakeSpec) -> None:
        spec = spec_with()
        (proposal,) = propose(spec, [], 1)
        found = recommend(spec, [failed(proposal, Cause(code="device_lost", message="The board is gone."))])
        assert found.cause is not None
        assert found.cause.code == "nothing_finished"


class TestBoards:
    def test_that_agree_are_pooled_by_their_errors(self) -> None:
        found = across_boards([Estimate(10.0, 0.1), Estimate(10.1, 0.1)])
        assert found.agree
        assert found.estimate.value == pytest.approx(10.05)
        assert found.estimate.standard_error == pytest.approx(0.1 / math.sqrt(2))

    def test_that_disagree_say_so_and_widen_the_error(self) -> None:
        found = across_boards([Estimate(10.0, 0.01), Estimate(14.0, 0.01)])
        assert not found.agree
        assert found.estimate.value == pytest.approx(12.0, abs=0.01)
        assert found.estimate.standard_error == pytest.approx(2.0, abs=0.01)  # half their distance

    def test_of_which_there_is_one_is_taken_as_it_is(self) -> None:
        assert across_boards([Estimate(3.0, 0.2)]).estimate == Estimate(3.0, 0.2)

    def test_none_of_which_is_left_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no board"):
            across_boards([])


class TestPrefixes:
    PRUNE, TRAIN = StructuredPrune(amount=0.5), Train(budget=Budget(steps=1))

    def recipes(self) -> list[Recipe]:
        formats = (Quantize(), Quantize(calibration=Calibration(observer="mse")))
        return [Recipe(name=f"r{place}", passes=(self.PRUNE, self.TRAIN, item)) for place, item in enumerate(formats)]

    def test_are_the_passes_that_all_begin_with(self) -> None:
        assert shared_prefix(self.recipes()) == (self.PRUNE, self.TRAIN)
        assert shared_prefix([]) == ()

    def test_of_other_seeds_or_without_data_are_none(self) -> None:
        first, second = self.recipes()
        assert shared_prefix([first, second.model_copy(update={"seed": 1})]) == ()
        blind = Recipe(name="blind", passes=(self.PRUNE, Quantize(calibration=Calibration(source="random"))))
        assert shared_prefix([Recipe(name="r", passes=(self.PRUNE, Quantize())), blind]) == ()

    def test_keys_are_equal_as_far_as_the_work_is(self) -> None:
        first, second = (prefix_keys(recipe) for recipe in self.recipes())
        assert first[:2] == second[:2]
        assert first[2] != second[2]

    def test_trials_with_one_training_form_a_group(self) -> None:
        recipes = [*self.recipes(), Recipe(name="r2", passes=(Quantize(),))]
        proposals = [
            Proposal(number=place, point={}, recipe=recipe, target="a", fidelity="full")
            for place, recipe in enumerate(recipes)
        ]
        groups = grouped([proposals[2], proposals[1], proposals[0]])
        assert [[item.number for item in group] for group in groups] == [[0, 1], [2]]
