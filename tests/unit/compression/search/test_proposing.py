"""Proposals: one suite over all samplers, resumption at any cut of the history, ends, faults."""

import math
from collections.abc import Callable
from typing import Any, get_args

import pytest

from edgefleet_compression.errors import SearchInvalid
from edgefleet_compression.search.estimates import Estimate
from edgefleet_compression.search.fidelity import FidelityLevel, Ladder
from edgefleet_compression.search.objectives import Constraint, Objective
from edgefleet_compression.search.proposing import budget_used, finished, propose
from edgefleet_compression.search.space import Cause, grid, plan_of
from edgefleet_compression.search.study import SamplerName, StudySpec, TrialRecord, completed, failed, started

MakeSpec = Callable[..., StudySpec]
RunAll = Callable[..., list[TrialRecord]]
SAMPLERS: tuple[SamplerName, ...] = get_args(SamplerName)
BROKEN = Cause(code="pass_refused", message="Nothing can be pruned.")


def key(spec: StudySpec, record: TrialRecord) -> str:
    return plan_of(spec.space, record.point).key


@pytest.mark.parametrize("sampler", SAMPLERS)
class TestEverySampler:
    def test_tries_every_recipe_of_a_small_space_once(
        self, sampler: SamplerName, spec_with: MakeSpec, run_all: RunAll
    ) -> None:
        spec = spec_with(sampler=sampler, n_trials=50)
        history = run_all(spec)
        assert sorted(key(spec, record) for record in history) == sorted(plan.key for plan in grid(spec.space))
        assert finished(spec, history) == Cause(
            code="space_exhausted", message="Every recipe of the space has been tried."
        )

    def test_goes_on_identically_from_any_cut(self, sampler: SamplerName, spec_with: MakeSpec, run_all: RunAll) -> None:
        spec = spec_with(sampler=sampler, n_trials=10)
        whole = run_all(spec)
        for cut in (4, 8):
            assert run_all(StudySpec.model_validate_json(spec.model_dump_json()), whole[:cut]) == whole

    def test_another_seed_takes_another_course(
        self, sampler: SamplerName, spec_with: MakeSpec, run_all: RunAll
    ) -> None:
        courses = [[r.point for r in run_all(spec_with(sampler=sampler, seed=seed, n_trials=4))] for seed in (1, 2)]
        assert courses[0] != courses[1]

    def test_many_at_once_are_those_one_by_one(
        self, sampler: SamplerName, spec_with: MakeSpec, run_all: RunAll
    ) -> None:
        spec = spec_with(sampler=sampler, batch=4)
        history = run_all(spec_with(sampler=sampler, n_trials=5))
        at_once = propose(spec, history, 3)
        one_by_one: list[TrialRecord] = []
        for proposal in at_once:
            assert propose(spec, [*history, *one_by_one], 1) == (proposal,)
            one_by_one.append(started(proposal))
        assert len({plan_of(spec.space, proposal.point).key for proposal in at_once}) == 3

    def test_avoids_what_failed_and_what_runs(self, sampler: SamplerName, spec_with: MakeSpec) -> None:
        spec = spec_with(sampler=sampler, n_trials=12, batch=2)
        history: list[TrialRecord] = []
        while proposals := propose(spec, history, 1):
            history.append(failed(proposals[0], BROKEN) if len(history) % 2 else started(proposals[0]))
            history = [
                failed(r, BROKEN) if r.state == "running" and r.number < len(history) - 1 else r for r in history
            ]
        assert len({key(spec, record) for record in history}) == len(history) == 12

    def test_keeps_to_constraints_while_it_proposes_recipes_alone(
        self, sampler: SamplerName, spec_with: MakeSpec, run_all: RunAll
    ) -> None:
        spec = spec_with(sampler=sampler, constraints=(Constraint(metric="size_bytes", maximum=30.0),), n_trials=8)
        assert len(run_all(spec)) == 8


class TestOrder:
    def test_completion_order_makes_no_difference(self, spec_with: MakeSpec, figures: Any) -> None:
        spec = spec_with(sampler="tpe", n_trials=8, batch=3)
        assert self._course(spec, figures, last_first=True) == self._course(spec, figures, last_first=False)

    def test_a_free_order_never_waits(self, spec_with: MakeSpec, figures: Any) -> None:
        spec = spec_with(n_trials=10, batch=2, order="free")
        first, second = propose(spec, [], 2)
        history = [started(first), completed(spec, second, figures(second.point))]
        assert len(propose(spec, history, 1)) == 1
        assert propose(spec_with(n_trials=10, batch=2), history, 1) == ()

    def test_a_full_batch_gets_nothing(self, spec_with: MakeSpec) -> None:
        spec = spec_with(batch=2)
        running = [started(proposal) for proposal in propose(spec, [], 5)]
        assert len(running) == 2
        assert propose(spec, running, 1) == ()
        assert finished(spec, running) is None

    @staticmethod
    def _course(spec: StudySpec, figures: Any, *, last_first: bool) -> list[dict[str, Any]]:
        history: list[TrialRecord] = []
        while True:
            history += [started(proposal) for proposal in propose(spec, history, spec.batch)]
            running = [record for record in history if record.state == "running"]
            if not running:
                return [record.point for record in history]
            done = running[-1 if last_first else 0]
            history[done.number] = completed(spec, done, figures(done.point))


class TestEnds:
    def test_the_budget_counts_failures_too(self, spec_with: MakeSpec) -> None:
        spec = spec_with(n_trials=3)
        history: list[TrialRecord] = []
        while proposals := propose(spec, history, 1):
            history.append(failed(proposals[0], BROKEN))
        assert budget_used(spec, history) == 3
        ended = finished(spec, history)
        assert ended is not None
        assert ended.code == "budget_used"

    def test_a_goal_ends_the_search(self, spec_with: MakeSpec, run_all: RunAll) -> None:
        spec = spec_with(goals=(Constraint(metric="accuracy", minimum=0.9),))
        history = run_all(spec)
        ended = finished(spec, history)
        assert ended is not None
        assert ended.code == "target_reached"
        assert history[-1].values["accuracy"].value >= 0.9
        assert all(record.values["accuracy"].value < 0.9 for record in history[:-1])

    def test_warm_starts_come_first_and_once(self, spec_with: MakeSpec, run_all: RunAll) -> None:
        wanted = {"channels": 0.5, "format": "int8", "target": "a"}
        history = run_all(spec_with(warm_starts=(wanted, wanted), n_trials=3))
        assert history[0].point == wanted
        assert wanted not in [record.point for record in history[1:]]


class TestFaults:
    @pytest.mark.parametrize("value", [math.nan, math.inf, None])
    def test_figures_that_are_no_numbers_make_a_failed_trial(self, spec_with: MakeSpec, value: float | None) -> None:
        spec = spec_with()
        (proposal,) = propose(spec, [], 1)
        record = completed(spec, proposal, {"accuracy": value, "size_bytes": 10.0})
        assert record.state == "failed"
        assert record.cause is not None
        assert record.cause.code == ("objective_unknown" if value is None else "objective_not_finite")
        assert "accuracy" not in record.values
        assert len(propose(spec, [record], 1)) == 1

    def test_figures_nobody_asked_for_are_left_out_where_they_are_no_numbers(self, spec_with: MakeSpec) -> None:
        spec = spec_with()
        (proposal,) = propose(spec, [], 1)
        record = completed(spec, proposal, {"accuracy": 0.5, "size_bytes": 10.0, "energy_mj": math.nan})
        assert record.state == "complete"
        assert set(record.values) == {"accuracy", "size_bytes"}

    def test_a_constraints_metric_is_needed_too(self, spec_with: MakeSpec) -> None:
        spec = spec_with(constraints=(Constraint(metric="latency_p90_ms", maximum=20.0),))
        (proposal,) = propose(spec, [], 1)
        assert completed(spec, proposal, {"accuracy": 0.5, "size_bytes": 10.0}).state == "failed"

    def test_histories_of_something_else_are_refused(self, spec_with: MakeSpec, run_all: RunAll) -> None:
        spec = spec_with()
        history = run_all(spec_with(n_trials=3))
        for wrong in (history[1:], [*history, history[0]], [history[0].model_copy(update={"fidelity": "half"})]):
            with pytest.raises(SearchInvalid) as caught:
                propose(spec, wrong, 1)
            assert caught.value.code == "history_invalid"

    def test_contradicting_constraints_make_no_search(self, spec_with: MakeSpec) -> None:
        bounds = (Constraint(metric="size_bytes", maximum=1.0), Constraint(metric="size_bytes", minimum=2.0))
        with pytest.raises(SearchInvalid) as caught:
            spec_with(constraints=bounds)
        assert caught.value.code == "constraints_contradict"

    def test_a_warm_start_outside_the_space_makes_none(self, spec_with: MakeSpec) -> None:
        with pytest.raises(SearchInvalid) as caught:
            spec_with(warm_starts=({"channels": 0.3, "format": "fp32", "target": "a"},))
        assert caught.value.code == "point_invalid"

    def test_a_budget_below_one_trial_makes_none(self, spec_with: MakeSpec) -> None:
        with pytest.raises(ValueError, match="greater than or equal to 1"):
            spec_with(n_trials=0)

    def test_every_trial_fails_and_the_search_still_ends(self, spec_with: MakeSpec) -> None:
        spec = spec_with(n_trials=50)
        history: list[TrialRecord] = []
        while proposals := propose(spec, history, 1):
            history.append(failed(proposals[0], BROKEN))
        assert len(history) == 12


class TestLadder:
    LADDER = Ladder(
        levels=(
            FidelityLevel(name="proxy", training_share=0.1, measurement="estimated", cost=0.1),
            FidelityLevel(name="short", training_share=0.5, measurement="quick", cost=0.5),
            FidelityLevel(name="full"),
        ),
        keep=0.5,
    )

    def test_better_points_climb(self, spec_with: MakeSpec, run_all: RunAll) -> None:
        spec = spec_with(ladder=self.LADDER, n_trials=5, sampler="random")
        history = run_all(spec)
        by_level = {level.name: [r for r in history if r.fidelity == level.name] for level in self.LADDER.levels}
        assert len(by_level["proxy"]) > len(by_level["short"]) > len(by_level["full"]) >= 1
        assert budget_used(spec, history) <= 5.0
        for record in history:
            if record.promoted_from is not None:
                below = history[record.promoted_from]
                assert below.point == record.point
                assert self.LADDER.above(below.fidelity) == self.LADDER.level(record.fidelity)

    def test_no_point_is_promoted_twice(self, spec_with: MakeSpec, run_all: RunAll) -> None:
        history = run_all(spec_with(ladder=self.LADDER, n_trials=8))
        promoted = [record.promoted_from for record in history if record.promoted_from is not None]
        assert len(set(promoted)) == len(promoted)

    def test_the_level_cuts_the_training(self, document: dict[str, Any], spec_with: MakeSpec) -> None:
        from edgefleet_compression.search.space import parse_space

        document["passes"].insert(1, {"spec": {"kind": "train", "budget": {"steps": 100}}})
        spec = spec_with(space=parse_space(document), ladder=self.LADDER)
        (proposal,) = propose(spec, [], 1)
        (training,) = (item for item in proposal.recipe.passes if item.kind == "train")
        assert training.budget.steps == 10
        assert proposal.recipe.name.endswith("-proxy")

    @pytest.mark.parametrize(
        "levels",
        [
            (FidelityLevel(name="a"), FidelityLevel(name="a")),
            (FidelityLevel(name="a"), FidelityLevel(name="b", cost=0.5)),
            (FidelityLevel(name="a", cost=0.5),),
        ],
    )
    def test_one_that_does_not_ascend_to_one_is_refused(self, levels: tuple[FidelityLevel, ...]) -> None:
        with pytest.raises(ValueError, match="ascending costs"):
            Ladder(levels=levels)


def test_single_objectives_are_searched_too(spec_with: MakeSpec, run_all: RunAll) -> None:
    spec = spec_with(objectives=(Objective(metric="size_bytes"),), sampler="tpe", n_trials=8)
    assert len(run_all(spec)) == 8


def test_errors_of_figures_travel_with_the_record(spec_with: MakeSpec) -> None:
    spec = spec_with()
    (proposal,) = propose(spec, [], 1)
    record = completed(spec, proposal, {"accuracy": Estimate(0.5, 0.01), "size_bytes": 10.0})
    assert record.estimates == {"accuracy": Estimate(0.5, 0.01), "size_bytes": Estimate(10.0)}
    assert TrialRecord.model_validate_json(record.model_dump_json()) == record
