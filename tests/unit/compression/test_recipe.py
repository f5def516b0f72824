import subprocess
import sys
from typing import Any

import pytest
from pydantic import TypeAdapter

from edgefleet_compression.errors import RecipeInvalid
from edgefleet_compression.passes.specs import AnyPass, Quantize
from edgefleet_compression.presets import PRESETS
from edgefleet_compression.recipe import RULE_CODES, Recipe, parse_recipe, recipe_sha256, with_channel_multiple

QUANTIZE: dict[str, Any] = {"kind": "quantize"}
PRUNE: dict[str, Any] = {"kind": "structured_prune", "amount": 0.5}
DISTILL: dict[str, Any] = {"kind": "distill", "teacher": "fixed"}


def train(*ingredients: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"kind": "train", "budget": {"epochs": 1}, "ingredients": list(ingredients), **fields}


DYNAMIC: dict[str, Any] = {"kind": "quantize", "activations": {"mode": "dynamic"}}
FOUR_BITS: dict[str, Any] = {"kind": "quantize", "weights": {"bits": 4}, "activations": None}
CAST: dict[str, Any] = {"kind": "cast"}
FAKE_QUANT: dict[str, Any] = {"kind": "fake_quant", "start_fraction": 0.5}
LOW_RANK: dict[str, Any] = {"kind": "low_rank", "energy": 0.9}
STUDENT: dict[str, Any] = {"width_ratio": 0.5}

BROKEN = [
    ("prune_after_quantize", [QUANTIZE, PRUNE]),
    ("prune_after_quantize", [train(FAKE_QUANT), PRUNE]),
    ("quantize_twice", [QUANTIZE, QUANTIZE]),
    ("quantize_after_fake_quant", [train(FAKE_QUANT), QUANTIZE]),
    ("quantize_twice", [QUANTIZE, DYNAMIC]),
    ("quantize_after_cast", [CAST, QUANTIZE]),
    ("cast_after_quantize", [QUANTIZE, CAST]),
    ("cast_after_quantize", [train(FAKE_QUANT), CAST]),
    ("cast_twice", [CAST, CAST]),
    ("prune_after_quantize", [CAST, PRUNE]),
    ("train_after_quantize", [CAST, train()]),
    ("train_after_quantize", [DYNAMIC, train({"kind": "fake_quant", "start_fraction": 0})]),
    ("format_unsupported", [{"kind": "quantize", "weights": {"bits": 4}}]),
    ("format_unsupported", [{"kind": "quantize", "weights": {"bits": 4}, "activations": {"mode": "dynamic"}}]),
    ("format_unsupported", [{"kind": "quantize", "activations": {"mode": "dynamic", "bits": 4}}]),
    ("format_unsupported", [{"kind": "quantize", "activations": {"scale": "learned"}}]),
    ("format_unsupported", [{**DYNAMIC, "equalize": True}]),
    ("format_unsupported", [{**FOUR_BITS, "weights": {"bits": 8}, "hybrid": {}}]),
    ("allocation_ambiguous", [{**FOUR_BITS, "allocation": {"size_bytes": 1000, "latency_ms": 1.0}}]),
    ("allocation_incomplete", [{**FOUR_BITS, "allocation": {"latency_ms": 1.0}}]),
    ("data_free_mixed", [train(synthesis={}), {"kind": "quantize"}]),
    ("data_free_mixed", [train(), {"kind": "quantize", "calibration": {"source": "batchnorm"}}]),
    ("data_free_mixed", [train({"kind": "fake_quant", "calibration": {"source": "random"}})]),
    ("amounts_not_global", [{"kind": "structured_prune", "amount": 0.5, "scope": "global", "amounts": {"stem": 0.0}}]),
    ("amount_ambiguous", [{"kind": "remove_blocks"}]),
    ("amount_ambiguous", [{"kind": "remove_blocks", "n_blocks": 1, "share": 0.5}]),
    ("prune_after_quantize", [QUANTIZE, {"kind": "remove_blocks", "n_blocks": 1}]),
    ("bits_ambiguous", [{**FOUR_BITS, "allocation": {"size_bytes": 1000}, "hybrid": {}}]),
    ("fake_quant_not_static", [train({"kind": "fake_quant", "activations": {"mode": "dynamic"}})]),
    ("train_after_quantize", [QUANTIZE, train()]),
    ("train_after_quantize", [train(FAKE_QUANT), train(DISTILL)]),
    ("fake_quant_start_not_zero", [QUANTIZE, train(FAKE_QUANT)]),
    ("student_after_quantize", [QUANTIZE, train({"kind": "fake_quant", "start_fraction": 0}, student=STUDENT)]),
    ("student_discards_edits", [PRUNE, train(student=STUDENT)]),
    ("student_not_smaller", [train(student={"width_ratio": 1.0})]),
    ("student_incomplete", [train(student={"architecture": "resnet"})]),
    ("student_ambiguous", [train(student={"architecture": "resnet", "arguments": {}, "width_ratio": 0.5})]),
    ("duplicate_ingredient", [train(DISTILL, DISTILL)]),
    ("distill_without_teacher", [train({"kind": "distill"})]),
    ("amount_not_n_of_m", [train({"kind": "sparsify", "amount": 0.6, "structure": "2:4"})]),
    ("solver_unsupported", [{"kind": "prune_weights", "amount": 0.5, "solver": "layerwise", "structure": "filters"}]),
    ("prune_after_quantize", [QUANTIZE, {"kind": "prune_weights", "amount": 0.5}]),
    ("train_after_quantize", [QUANTIZE, {"kind": "lottery_ticket", "amount": 0.5, "budget": {"steps": 1}}]),
    ("teacher_has_no_features", [train({"kind": "distill", "teacher": "ensemble", "method": "attention"})]),
    ("budget_ambiguous", [{"kind": "train", "budget": {"epochs": 1, "steps": 1}}]),
    ("budget_ambiguous", [{"kind": "train", "budget": {}}]),
    ("schedule_empty", [train({"kind": "sparsify", "amount": 0.5, "start_fraction": 0.8, "end_fraction": 0.8})]),
    ("scaling_without_weights", [{**train(), "gradient_scaling": "adaptive"}]),
    ("nothing_to_learn", [{**train(), "loss_weights": {"labels": 0.0}}]),
    ("rank_ambiguous", [{"kind": "low_rank"}]),
    ("rank_ambiguous", [{"kind": "low_rank", "energy": 0.9, "parameters_ratio": 0.5}]),
    ("low_rank_after_quantize", [QUANTIZE, LOW_RANK]),
    ("low_rank_after_sparsify", [train({"kind": "sparsify", "amount": 0.5}), LOW_RANK]),
    ("recipe_invalid", [{"kind": "quantize", "colour": "red"}]),
    ("recipe_invalid", [{"kind": "melt"}]),
    ("recipe_invalid", [{"kind": "structured_prune", "amount": 1.0}]),
    ("recipe_invalid", [{"kind": "structured_prune", "amount": 0.0}]),
    ("recipe_invalid", [{"kind": "structured_prune", "amount": float("nan")}]),
]


@pytest.mark.parametrize(("code", "passes"), BROKEN)
def test_broken_recipe_is_refused_with_its_code(code: str, passes: list[dict[str, Any]]) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        parse_recipe({"name": "broken", "passes": passes})
    assert caught.value.code == code
    assert caught.value.detail["errors"][0]["message"]


def test_every_rule_has_a_test() -> None:
    assert {code for code, _ in BROKEN} == RULE_CODES | {"recipe_invalid"}


@pytest.mark.parametrize(
    "passes",
    [
        [],
        [PRUNE, train(), QUANTIZE],
        [PRUNE, train(), CAST],
        [{"kind": "quantize", "weights": {"bits": 4}, "activations": None}],
        [PRUNE, PRUNE],
        [QUANTIZE, train({"kind": "fake_quant", "start_fraction": 0})],
        [train(student=STUDENT), PRUNE, train(FAKE_QUANT, DISTILL)],
    ],
)
def test_possible_order_is_accepted(passes: list[dict[str, Any]]) -> None:
    assert len(parse_recipe({"name": "fine", "passes": passes}).passes) == len(passes)


@pytest.mark.parametrize("recipe", PRESETS.values(), ids=str)
def test_preset_survives_json(recipe: Recipe) -> None:
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_presets_are_those_of_the_demo_and_the_other_formats() -> None:
    assert list(PRESETS) == [
        *("baseline", "int8", "prune50", "prune50-int8", "distill-int8", "joint"),
        *("int8-dynamic", "int8-weights", "int4-weights", "fp16"),
    ]


@pytest.mark.parametrize("name", ["int8", "int8-dynamic", "int8-weights", "int4-weights"])
def test_quantize_preset_is_named_after_the_precision_it_leaves(name: str) -> None:
    spec = PRESETS[name].passes[0]
    assert isinstance(spec, Quantize)
    assert spec.precision == name


def test_hash_tells_recipes_apart_by_what_they_do_and_not_by_name() -> None:
    hashes = {recipe_sha256(recipe) for recipe in PRESETS.values()}
    assert len(hashes) == len(PRESETS)
    assert recipe_sha256(PRESETS["int8"]) == recipe_sha256(PRESETS["int8"].model_copy(update={"name": "mine"}))
    assert recipe_sha256(PRESETS["int8"]) != recipe_sha256(PRESETS["int8"].model_copy(update={"seed": 1}))


def test_multiple_of_the_target_is_set_where_the_recipe_leaves_it_open() -> None:
    passes = [PRUNE, {**PRUNE, "round_to": 4}, {"kind": "low_rank", "energy": 0.5}]
    recipe = parse_recipe({"name": "t", "passes": passes})
    resolved = with_channel_multiple(recipe, 32)
    assert [getattr(spec, "round_to", None) for spec in resolved.passes] == [32, 4, None]
    assert recipe_sha256(resolved) != recipe_sha256(recipe)
    assert with_channel_multiple(PRESETS["int8"], 32) == PRESETS["int8"]


def test_hash_of_the_empty_recipe_is_sha256_of_its_canonical_json() -> None:
    """Computed with ``printf '{"passes":[],"seed":0}' | sha256sum``."""
    expected = "d30aaa7a"
    assert recipe_sha256(Recipe(name="baseline")).startswith(expected)


def test_every_field_of_every_pass_has_a_description() -> None:
    schema = TypeAdapter(AnyPass).json_schema()
    missing = [
        f"{name}.{field}"
        for name, definition in schema["$defs"].items()
        for field, content in definition["properties"].items()
        if "description" not in content and field != "kind"
    ]
    assert missing == []


def test_recipe_presets_and_errors_load_without_torch_or_onnx() -> None:
    code = (
        "import sys, edgefleet_compression.recipe, edgefleet_compression.presets, edgefleet_compression.errors; "
        "print([name for name in ('torch', 'onnx', 'numpy', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
