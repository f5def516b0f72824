import json
from pathlib import Path

import onnx
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from edgefleet_compression.candidate import (
    Candidate,
    OnnxCandidate,
    TorchCandidate,
    load_candidate,
    save_candidate,
)
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import ModelFileInvalid
from edgefleet_compression.passes.application import apply, run_recipe
from edgefleet_compression.passes.specs import Budget, Distill, FakeQuant, Quantize, StructuredPrune, Train
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.structure import STRUCTURE_KEY
from edgefleet_compression.testing import tiny_candidate

RECIPES = {
    "baseline": Recipe(name="baseline"),
    "pruned": Recipe(name="pruned", passes=(StructuredPrune(amount=0.5),)),
    "pruned-int8": Recipe(name="pruned-int8", passes=(StructuredPrune(amount=0.5), Quantize())),
    "joint": Recipe(
        name="joint",
        passes=(
            StructuredPrune(amount=0.5),
            Train(budget=Budget(steps=6), ingredients=(FakeQuant(start_fraction=0.5), Distill(teacher="fixed"))),
        ),
    ),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_restored_candidate_gives_the_same_bits(
    recipe: Recipe, candidate: TorchCandidate, data: DataSet, tmp_path: Path
) -> None:
    made = run_recipe(recipe, candidate, data=data, seed=1).candidate
    assert isinstance(made, TorchCandidate)
    restored = load_candidate(save_candidate(made, tmp_path / "candidate.safetensors"))
    assert isinstance(restored, TorchCandidate)
    x = torch.from_numpy(data.test.x)
    assert torch.equal(made.model(x), restored.model(x))
    assert restored.traits == made.traits
    assert restored.history == tuple(record.without_wall_time() for record in made.history)
    assert [name for name, _ in restored.model.named_parameters()] == [
        name for name, _ in made.model.named_parameters()
    ]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_same_seed_gives_the_same_bytes_and_another_seed_others(recipe: Recipe, data: DataSet, tmp_path: Path) -> None:
    files = [
        save_candidate(run_recipe(recipe, tiny_candidate(), data=data, seed=seed).candidate, tmp_path / f"{index}")
        for index, seed in enumerate((1, 1, 2))
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    if recipe.trains:
        assert files[0].read_bytes() != files[2].read_bytes()


def test_restored_candidate_can_be_compressed_further(candidate: TorchCandidate, data: DataSet, tmp_path: Path) -> None:
    pruned = apply(StructuredPrune(amount=0.5), candidate, Context(data, seed=0))
    restored = load_candidate(save_candidate(pruned, tmp_path / "c.safetensors"))
    again = apply(Train(budget=Budget(steps=2)), restored, Context(data, seed=0))
    assert [record.spec.kind for record in again.history] == ["structured_prune", "train"]


def test_metadata_is_one_json_document(candidate: TorchCandidate, tmp_path: Path) -> None:
    with safe_open(save_candidate(candidate, tmp_path / "c.safetensors"), framework="numpy") as archive:
        metadata = archive.metadata()
    assert list(metadata) == [STRUCTURE_KEY]
    assert json.loads(metadata[STRUCTURE_KEY])["task"] == {"kind": "classification", "n_classes": 4}


def test_onnx_plan_and_history_survive_and_the_graph_is_untouched(
    onnx_candidate: OnnxCandidate, data: DataSet, tmp_path: Path
) -> None:
    made = apply(Quantize(), onnx_candidate, Context(data, seed=0))
    restored = load_candidate(save_candidate(made, tmp_path / "candidate.onnx"))
    assert isinstance(restored, OnnxCandidate)
    assert isinstance(made, OnnxCandidate)
    assert restored.plan == made.plan
    assert len(restored.history) == 1
    assert restored.model.graph == onnx_candidate.model.graph


def test_onnx_baseline_carries_no_plan(onnx_candidate: OnnxCandidate, tmp_path: Path) -> None:
    restored = load_candidate(save_candidate(onnx_candidate, tmp_path / "candidate.onnx"))
    assert isinstance(restored, OnnxCandidate)
    assert (restored.plan, restored.traits.precision) == (None, "fp32")
    assert onnx.load(tmp_path / "candidate.onnx").metadata_props == onnx_candidate.model.metadata_props


def rewrite(
    path: Path, *, tensors: dict[str, torch.Tensor] | None = None, structure: dict[str, object] | None = None
) -> Path:
    """Save the file's content again with parts of it changed."""
    with safe_open(path, framework="pt") as archive:
        document = json.loads(archive.metadata()[STRUCTURE_KEY])
    document.update(structure or {})
    save_file(load_file(path) if tensors is None else tensors, path, metadata={STRUCTURE_KEY: json.dumps(document)})
    return path


def code_of(path: Path) -> str:
    with pytest.raises(ModelFileInvalid) as caught:
        load_candidate(path)
    return caught.value.code


def test_tampered_files_are_refused_with_their_codes(candidate: Candidate, tmp_path: Path) -> None:
    path = save_candidate(candidate, tmp_path / "c.safetensors")
    original = path.read_bytes()
    tensors = load_file(path)
    layers = {"stem": {"kind": "conv2d", "n_in": 1, "n_out": 8, "groups": 1}}
    cases: dict[str, dict[str, object]] = {
        "architecture_unknown": {"architecture": "perpetuum"},
        "architecture_arguments_invalid": {"arguments": {"widths": [0]}},
        "structure_invalid": {"layers": {"../etc": {"kind": "linear", "n_in": 1, "n_out": 1}}},
        "structure_mismatch": {"layers": layers},
    }
    for code, change in cases.items():
        path.write_bytes(original)
        assert code_of(rewrite(path, structure=change)) == code
    path.write_bytes(original)
    missing = {name: tensor for name, tensor in tensors.items() if name != "head.bias"}
    assert code_of(rewrite(path, tensors=missing)) == "tensors_mismatch"
    path.write_bytes(original)
    reshaped = {**tensors, "head.bias": torch.zeros(5)}
    assert code_of(rewrite(path, tensors=reshaped)) == "tensors_mismatch"
    path.write_bytes(original)
    broken = {**tensors, "head.bias": torch.full((4,), float("nan"))}
    assert code_of(rewrite(path, tensors=broken)) == "weights_not_finite"
