"""Spaces: axes, templates, points, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgefleet_compression.errors import SearchInvalid
from edgefleet_compression.passes.specs import Quantize, StructuredPrune
from edgefleet_compression.search.axes import CategoricalAxis, Choice, FloatAxis, IntegerAxis, Point, same_value
from edgefleet_compression.search.space import SearchSpace, cause_of, grid, parse_space, plan_of

POINT: Point = {"channels": 0.25, "format": "int8", "target": "a"}


class TestAxes:
    def test_steps_of_a_float_axis_are_written_without_rounding_noise(self) -> None:
        assert FloatAxis(name="x", low=0.0, high=0.6, step=0.1).values == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)

    def test_a_step_that_does_not_divide_the_range_stops_below_its_end(self) -> None:
        assert IntegerAxis(name="x", low=0, high=5, step=2).values == (0, 2, 4)
        assert FloatAxis(name="x", low=0.0, high=1.0, step=0.4).values == (0.0, 0.4, 0.8)

    def test_a_number_close_to_a_step_is_that_step(self) -> None:
        axis = FloatAxis(name="x", low=0.0, high=0.6, step=0.1)
        assert axis.accepts(0.1 + 0.2)
        assert same_value(axis, 0.1 + 0.2) == 0.3

    @pytest.mark.parametrize("value", [True, "1", 1.5, 7])
    def test_whole_numbers_take_no_other_types(self, value: Any) -> None:
        assert not IntegerAxis(name="x", low=0, high=5).accepts(value)

    def test_middle_of_a_logarithmic_axis_is_the_geometric_mean(self) -> None:
        assert FloatAxis(name="x", low=0.001, high=0.1, log=True).position(0.01) == pytest.approx(0.5)

    @given(st.floats(allow_nan=True, allow_infinity=True))
    def test_accepted_numbers_lie_on_the_axis(self, value: float) -> None:
        axis = FloatAxis(name="x", low=0.0, high=0.75, step=0.25)
        assert not axis.accepts(value) or same_value(axis, value) in axis.values

    def test_a_choice_means_itself_unless_it_says_otherwise(self) -> None:
        axis = CategoricalAxis(name="x", choices=(Choice(value="minmax"), Choice(value="none", means=None)))
        assert [axis.meaning(value) for value in axis.values] == ["minmax", None]
        assert CategoricalAxis.model_validate(axis.model_dump(mode="json")) == axis


class TestPoints:
    def test_a_point_becomes_its_recipe_and_target(self, space: SearchSpace) -> None:
        plan = plan_of(space, POINT)
        assert plan.recipe.passes == (StructuredPrune(amount=0.25), Quantize())
        assert plan.target == "a"

    def test_a_pass_is_left_out_where_its_axis_says_so(self, space: SearchSpace) -> None:
        assert plan_of(space, {"channels": 0.0, "format": "fp32", "target": "b"}).recipe.passes == ()

    def test_a_whole_case_is_needed_to_leave_a_pass_out(self, document: dict[str, Any]) -> None:
        document["passes"][0]["unless"] = [{"channels": [0.25], "format": ["fp32"]}]
        space = parse_space(document)
        assert plan_of(space, POINT).recipe.passes[0].kind == "structured_prune"
        assert plan_of(space, {**POINT, "format": "fp32"}).recipe.passes == ()

    def test_a_part_of_a_meaning_fills_a_field(self, document: dict[str, Any]) -> None:
        document["axes"][1]["choices"][1]["means"] = {"weights": {"bits": 4}, "activations": None}
        parts = {key: {"$axis": "format", "$part": key} for key in ("weights", "activations")}
        document["passes"][1] = {"spec": {"kind": "quantize", **parts}, "unless": [{"format": ["fp32"]}]}
        document["targets"][0]["precisions"].append("int4-weights")
        spec = plan_of(parse_space(document), POINT).recipe.passes[1]
        assert isinstance(spec, Quantize)
        assert (spec.weights.bits, spec.activations) == (4, None)

    def test_keys_are_equal_where_recipe_and_target_are(self, space: SearchSpace) -> None:
        assert plan_of(space, POINT).key == plan_of(space, {**POINT, "channels": 0.25 + 1e-12}).key
        assert plan_of(space, POINT).key != plan_of(space, {**POINT, "format": "fp32"}).key

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"target": "b"}, "precision_unsupported"),
            ({"channels": 0.3}, "point_invalid"),
            ({"channels": float("nan")}, "point_invalid"),
            ({"format": "int2"}, "point_invalid"),
            ({"other": 1}, "point_invalid"),
        ],
    )
    def test_what_is_no_recipe_has_a_cause(self, space: SearchSpace, change: dict[str, Any], code: str) -> None:
        cause = cause_of(space, {**POINT, **change})
        assert cause is not None
        assert cause.code == code

    def test_a_broken_recipe_rule_is_the_cause(self, document: dict[str, Any]) -> None:
        document["passes"].append({"spec": {"kind": "structured_prune", "amount": 0.5}})
        cause = cause_of(parse_space(document), POINT)
        assert cause is not None
        assert cause.code == "prune_after_quantize"

    @given(
        st.fixed_dictionaries(
            {
                "channels": st.sampled_from([0.0, 0.25, 0.5, 0.75]) | st.floats(0, 1),
                "format": st.sampled_from(["fp32", "int8", "int4"]),
                "target": st.sampled_from(["a", "b", "c"]),
            }
        )
    )
    def test_every_point_is_either_a_recipe_of_the_grid_or_has_a_cause(self, point: dict[str, Any]) -> None:
        space = _SPACE
        if cause_of(space, point) is None:
            assert plan_of(space, point).key in _KEYS


class TestGrid:
    def test_holds_every_recipe_once(self, space: SearchSpace) -> None:
        plans = grid(space)
        assert space.size == 16
        assert len(plans) == len({plan.key for plan in plans}) == 12

    def test_an_axis_that_changes_nothing_gives_no_more_recipes(self, document: dict[str, Any]) -> None:
        document["axes"].append({"kind": "integer", "name": "unused", "low": 1, "high": 3})
        assert len(grid(parse_space(document))) == 12

    def test_an_axis_without_steps_has_none(self, document: dict[str, Any]) -> None:
        document["axes"][0].pop("step")
        with pytest.raises(SearchInvalid) as caught:
            grid(parse_space(document))
        assert caught.value.code == "space_not_finite"

    def test_too_many_points_are_refused(self, document: dict[str, Any]) -> None:
        document["axes"].append({"kind": "integer", "name": "much", "low": 0, "high": 9999})
        with pytest.raises(SearchInvalid) as caught:
            grid(parse_space(document))
        assert caught.value.code == "space_too_large"


class TestDocuments:
    def test_a_space_survives_json(self, space: SearchSpace) -> None:
        assert parse_space(space.model_dump(mode="json")) == space

    @pytest.mark.parametrize(
        ("place", "value", "code"),
        [
            (("axes", 1, "name"), "channels", "axis_repeated"),
            (("passes", 0, "spec", "amount", "$axis"), "width", "axis_unknown"),
            (("axes", 0, "low"), 2.0, "axis_empty"),
            (("axes", 1, "choices", 1, "value"), "fp32", "axis_empty"),
            (("axes", 2, "choices", 0, "value"), "c", "target_axis_mismatch"),
            (("axes", 2, "name"), "board", "target_axis_mismatch"),
            (("axes", 0, "low"), "none", "space_invalid"),
        ],
    )
    def test_a_broken_one_is_refused_with_code_and_place(
        self, document: dict[str, Any], place: tuple[Any, ...], value: Any, code: str
    ) -> None:
        part: Any = document
        for key in place[:-1]:
            part = part[key]
        part[place[-1]] = value
        with pytest.raises(SearchInvalid) as caught:
            parse_space(document)
        assert caught.value.code == code


_SPACE = parse_space(
    {
        "axes": [
            {"kind": "float", "name": "channels", "low": 0.0, "high": 0.75, "step": 0.25},
            {
                "kind": "categorical",
                "name": "format",
                "choices": [{"value": "fp32", "means": None}, {"value": "int8", "means": {"kind": "quantize"}}],
            },
            {"kind": "categorical", "name": "target", "choices": [{"value": "a"}, {"value": "b"}]},
        ],
        "passes": [{"spec": {"$axis": "format"}}],
        "targets": [{"name": "a"}, {"name": "b", "precisions": ["fp32"]}],
    }
)
_KEYS = {plan.key for plan in grid(_SPACE)}
