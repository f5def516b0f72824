"""Analysis before compression."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgefleet_compression import tasks
from edgefleet_compression.analysis import analyze, expect_size, measure_redundancy
from edgefleet_compression.analysis.live_memory import peak_activation_bytes
from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context, no_progress
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import DataInvalid, PassRefused
from edgefleet_compression.evaluate import example_input
from edgefleet_compression.onnx_stats import count_onnx_stats
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import Budget, Optimizer, Quantize, Train
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.requests import AnalyzeRequest
from edgefleet_compression.testing import tiny_data, tiny_onnx, tiny_text_candidate, tiny_text_data
from edgefleet_compression.training.sparsify import weights_of

FOUR_BITS = {"kind": "quantize", "weights": {"bits": 4}, "activations": None}


def test_three_counters_of_macs_agree(candidate: TorchCandidate) -> None:
    found = analyze(candidate, recipes=())
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            candidate.model,
            (example_input(candidate.structure.input),),
            buffer,  # type: ignore[arg-type] # the TorchScript-based exporter also writes to a stream
            dynamo=False,
            opset_version=13,
        )
    exported = count_onnx_stats(onnx.load_from_string(buffer.getvalue()))
    assert found.macs == found.macs_by_counter == exported.macs
    assert all(layer.macs == layer.macs_by_counter for layer in found.layers)
    assert found.baseline is None
    assert not found.layers[0].pruned
    assert found.unknown == dict.fromkeys(("baseline", "pruned", "rounded"), "no_data")


def test_first_layer_is_counted_as_by_hand(candidate: TorchCandidate) -> None:
    """A 3 x 3 convolution of 1 channel to 16 on 8 x 8: 16 * 64 outputs of 9 products, 144 weights."""
    first = analyze(candidate, recipes=()).layers[0]
    assert (first.macs, first.n_parameters, first.activation_bytes) == (9216, 144, 4096)


def test_sensitivities_grow_with_what_a_layer_loses(candidate: TorchCandidate, data: DataSet) -> None:
    spec = Train(budget=Budget(epochs=5), optimizer=Optimizer(lr=0.02), batch_size=32)
    trained = apply(spec, candidate, Context(data, 0))
    assert isinstance(trained, TorchCandidate)
    before = {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}
    found = analyze(trained, data, recipes=(), n_samples=30)
    assert found.baseline is not None
    assert found.n_samples == min(30, len(data.validation))
    for layer in found.layers:
        assert layer.rounded["8"].loss == pytest.approx(found.baseline.loss, abs=0.02)
        assert set(layer.pruned) == {"0.25", "0.5", "0.75"}
    assert max(layer.pruned["0.75"].loss for layer in found.layers) > found.baseline.loss
    assert all(torch.equal(before[name], tensor) for name, tensor in trained.model.state_dict().items())


def test_attention_is_counted_by_the_counter_alone_and_tables_are_layers() -> None:
    """Of one layer two products of 8 x 8 tokens over a width of 16, and the mean of 8 tokens; a lookup multiplies nothing."""
    found = analyze(tiny_text_candidate(), recipes=())
    assert found.macs is not None
    assert found.macs_by_counter == found.macs + 2 * 8 * 8 * 16 + 8 * 16
    tables = [layer for layer in found.layers if layer.kind == "embedding"]
    assert tables
    assert {layer.macs for layer in tables} == {0}


def test_expected_sizes_follow_the_bits(candidate: TorchCandidate) -> None:
    found = {row.recipe: row for row in analyze(candidate).expected}
    sizes = {name: row.size_bytes for name, row in found.items() if row.size_bytes is not None}
    assert sizes["fp16"] * 2 == sizes["baseline"]
    assert sizes["int4-weights"] < sizes["int8"] < sizes["fp16"]
    assert sizes["prune50-int8"] < sizes["prune50"] < sizes["baseline"]
    assert found["prune50"].macs is not None
    assert found["baseline"].macs is not None
    assert found["prune50"].macs < 0.5 * found["baseline"].macs


def test_size_of_mixed_bits_is_their_mean_or_their_budget(candidate: TorchCandidate) -> None:
    four, mixed, budget, costs = (
        expect_size(candidate, Recipe.model_validate({"name": "x", "passes": [spec]}))
        for spec in (
            FOUR_BITS,
            FOUR_BITS | {"hybrid": {"share": 0.5}},
            FOUR_BITS | {"allocation": {"size_bytes": 9000}},
            FOUR_BITS | {"allocation": {"latency_ms": 1.0, "table": {}}},
        )
    )
    n_weights = sum(weight.numel() for weight in weights_of(candidate.model).values())
    assert four.size_bytes is not None
    assert mixed.size_bytes == four.size_bytes + n_weights // 4
    assert budget.size_bytes == 9000
    assert (costs.size_bytes, costs.reason) == (None, "bits_chosen_later")


def test_a_recipe_that_cannot_work_has_a_reason_instead_of_a_size(candidate: TorchCandidate) -> None:
    spec = {"kind": "low_rank", "parameters_ratio": 0.001}
    found = expect_size(candidate, Recipe.model_validate({"name": "x", "passes": [spec]}))
    assert found.size_bytes is None
    assert found.reason == "ratio_unreachable"


def test_rank_of_energy_is_that_of_a_known_spectrum() -> None:
    """Squared singular values 81, 18, 1: 90 % is reached with the second."""
    found = measure_redundancy(torch.diag(torch.tensor([9.0, 18.0**0.5, 1.0])))
    assert found.rank_ratio == pytest.approx(2 / 3)
    assert found.share == 0.0  # two factors of rank 2 have 12 numbers, the matrix 9
    assert measure_redundancy(torch.zeros(3, 3)).rank_ratio == 0.0
    one = measure_redundancy(torch.ones(10, 30))
    assert (one.rank_ratio, one.share) == (0.1, 1 - 40 / 300)


def test_activations_alive_at_once_are_counted_as_by_hand() -> None:
    """Sample 64 floats, held by the caller; ReLU 256 and second convolution 512 floats while that runs."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, padding=1)).eval()
    assert peak_activation_bytes(model, torch.zeros(1, 1, 8, 8)) == 4 * (64 + 256 + 512)


def test_data_of_another_shape_are_refused(candidate: TorchCandidate) -> None:
    with pytest.raises(DataInvalid) as caught:
        analyze(candidate, tiny_text_data(), recipes=())
    assert caught.value.code == "data_shape_mismatch"


def test_a_quantized_candidate_is_not_analysed(candidate: TorchCandidate, data: DataSet) -> None:
    quantized = apply(Quantize(), candidate, Context(data, 0))
    assert isinstance(quantized, TorchCandidate)
    with pytest.raises(PassRefused) as caught:
        analyze(quantized, recipes=())
    assert caught.value.code == "already_quantized"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A person's own ONNX file, the same with an operator that has no layer, and data."""
    (tmp_path / "own.onnx").write_bytes(tiny_onnx().SerializeToString())
    unusual = tiny_onnx()
    unusual.graph.node[1].op_type = "Selu"
    (tmp_path / "unusual.onnx").write_bytes(unusual.SerializeToString())
    data = tiny_data(n_samples=40)
    assert data.train.y is not None
    np.savez(tmp_path / "data.npz", x=data.train.x, y=data.train.y)
    return tmp_path


def analyzed_file(files: Path, name: str, **fields: Any) -> dict[str, Any]:
    data = {"kind": "npz", "path": str(files / "data.npz")}
    request = AnalyzeRequest.model_validate({"task": "analyze", "model": files / name, "data": data, **fields})
    return tasks.analyze(request, no_progress)


def test_own_onnx_file_is_analysed_in_its_torch_form(files: Path) -> None:
    recipe = {"name": "half", "passes": [{"kind": "structured_prune", "amount": 0.5, "round_to": 1, "min_channels": 1}]}
    result = analyzed_file(files, "own.onnx", recipes=[recipe], n_samples=4)
    assert (result["form"], result["notes"]) == ("torch", ["converted_from_onnx"])
    # convolution 1 -> 4, 3 x 3 on 8 x 8: 4 * 64 * 9 products; linear 4 -> 4
    assert result["macs"] == result["macs_by_counter"] == 2304 + 16
    assert result["n_samples"] == 4
    # 2 channels of the convolution stay: 18 weights and 2 biases, 8 weights and 4 biases
    assert (result["expected"][0]["size_bytes"], result["expected"][0]["macs"]) == (4 * 32, 1152 + 8)


def test_onnx_file_without_a_torch_form_says_what_is_not_known_and_why(files: Path) -> None:
    result = analyzed_file(files, "unusual.onnx")
    assert (result["form"], result["macs"], result["macs_by_counter"]) == ("onnx", 2320, None)
    assert result["unknown"] == dict.fromkeys(("macs_by_counter", "baseline", "pruned", "rounded"), "no_torch_form")
    assert list(result["obstacles"]) == ["operator Selu has no plain layer"]
    # alive at once: the convolution's output and that of Selu, 4 * 64 numbers each
    assert result["peak_activation_bytes"] == 2 * 1024
    expected = {row["recipe"]: row for row in result["expected"]}
    assert (expected["prune50"]["size_bytes"], expected["prune50"]["reason"]) == (None, "needs_torch_model")
    # 36 + 16 weights, 8 biases; int8: scales of 8 channels too
    assert (expected["baseline"]["size_bytes"], expected["int8"]["size_bytes"]) == (4 * 60, 52 + 32 + 32)
