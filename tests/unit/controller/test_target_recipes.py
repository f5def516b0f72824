"""Which targets share a candidate: those whose kernels compute as many channels at a time."""

from typing import Any

import pytest

from edgefleet_compression.recipe import parse_recipe, recipe_sha256
from edgefleet_controller.workflows.keys import compression_key
from edgefleet_controller.workflows.recipes import recipe_of
from edgefleet_controller.workflows.repository import VariantWork

PRUNE = {"kind": "structured_prune", "amount": 0.5}


def variant(target: str, *passes: dict[str, Any]) -> VariantWork:
    recipe = {"name": "t", "passes": list(passes)}
    return VariantWork(
        variant_id="variant_1",
        job_id="job_1",
        name="t",
        recipe=recipe,
        recipe_sha256=recipe_sha256(parse_recipe(recipe)),
        target=target,
        is_stopped=False,
        is_dispatched=False,
        no_cache=False,
        seed=0,
        model_sha256="0" * 64,
        model_format="safetensors",
        data=None,
        evaluation_sha256=None,
        data_sha256=None,
        compression_key=None,
        artifact_key=None,
        compute="cpu",
        fair_tag=0,
        priority="normal",
    )


@pytest.mark.parametrize(
    ("target", "passes", "multiple"),
    [
        ("onnxruntime", [PRUNE, {"kind": "quantize"}], 8),
        ("tensorrt-10.3", [PRUNE, {"kind": "quantize"}], 32),
        ("tensorrt-10.3", [PRUNE, {"kind": "cast"}], 8),
        ("tensorrt-10.3", [{**PRUNE, "round_to": 4}, {"kind": "quantize"}], 4),
    ],
)
def test_pruning_keeps_to_the_channels_of_the_target(target: str, passes: list[dict[str, Any]], multiple: int) -> None:
    spec = recipe_of(variant(target, *passes)).passes[0]
    assert spec.model_dump()["round_to"] == multiple


def test_targets_with_the_same_multiple_share_a_candidate() -> None:
    targets = ("onnxruntime", "litert", "tensorrt-10.3", "tensorrt")
    keys = [compression_key(variant(target, PRUNE, {"kind": "quantize"}), 1)["recipe_sha256"] for target in targets]
    assert keys[0] == keys[1] != keys[2] == keys[3]


def test_a_recipe_that_says_its_multiple_is_made_once_for_all_targets() -> None:
    fixed = {**PRUNE, "round_to": 8}
    keys = {compression_key(variant(target, fixed), 1)["recipe_sha256"] for target in ("onnxruntime", "tensorrt-10.3")}
    assert keys == {variant("litert", fixed).recipe_sha256}


def test_a_recipe_without_pruning_has_the_key_it_always_had() -> None:
    work = variant("tensorrt-10.3", {"kind": "quantize"})
    assert compression_key(work, 1)["recipe_sha256"] == work.recipe_sha256
