"""Analysis before compression, and task metrics."""

import io
import warnings

import numpy as np
import onnx
import pytest
import torch

from edgefleet_compression.analysis import analyze, energy_rank_ratio
from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import PassRefused, RequestInvalid
from edgefleet_compression.evaluate import example_input
from edgefleet_compression.metrics import UNSUPPORTED_TASKS, classification_metrics, require_supported
from edgefleet_compression.onnx_stats import count_onnx_stats
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import Budget, Optimizer, Quantize, Train


def test_three_counters_of_macs_agree(candidate: TorchCandidate) -> None:
    found = analyze(candidate)
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
    assert found.macs == found.macs_by_layers == exported.macs
    assert found.baseline_loss is None
    assert not found.layers[0].prune_losses


def test_first_layer_is_counted_as_by_hand(candidate: TorchCandidate) -> None:
    """A 3 x 3 convolution of 1 channel to 16 on 8 x 8: 16 * 64 outputs of 9 products, 144 weights."""
    first = analyze(candidate).layers[0]
    assert (first.macs, first.n_parameters, first.activation_bytes) == (9216, 144, 4096)


def test_sensitivities_grow_with_what_a_layer_loses(candidate: TorchCandidate, data: DataSet) -> None:
    spec = Train(budget=Budget(epochs=5), optimizer=Optimizer(lr=0.02), batch_size=32)
    trained = apply(spec, candidate, Context(data, 0))
    assert isinstance(trained, TorchCandidate)
    before = {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}
    found = analyze(trained, data)
    assert found.baseline_loss is not None
    for layer in found.layers:
        assert layer.bits_losses["8"] == pytest.approx(found.baseline_loss, abs=0.02)
        assert set(layer.prune_losses) == {"0.25", "0.5", "0.75"}
    assert max(layer.prune_losses["0.75"] for layer in found.layers) > found.baseline_loss
    assert all(torch.equal(before[name], tensor) for name, tensor in trained.model.state_dict().items())


def test_expected_sizes_follow_the_bits(candidate: TorchCandidate) -> None:
    expected = analyze(candidate).expected_bytes
    sizes = {name: size for name, size in expected.items() if size is not None}
    assert sizes["fp16"] * 2 == sizes["baseline"]
    assert sizes["int4-weights"] < sizes["int8"] < sizes["fp16"]
    assert sizes["prune50-int8"] < sizes["prune50"] < sizes["baseline"]


def test_rank_of_energy_is_that_of_a_known_spectrum() -> None:
    """Squared singular values 81, 18, 1: 90 % is reached with the second."""
    assert energy_rank_ratio(torch.diag(torch.tensor([9.0, 18.0**0.5, 1.0]))) == pytest.approx(2 / 3)
    assert energy_rank_ratio(torch.zeros(3, 3)) == 0.0


def test_a_quantized_candidate_is_not_analysed(candidate: TorchCandidate, data: DataSet) -> None:
    quantized = apply(Quantize(), candidate, Context(data, 0))
    assert isinstance(quantized, TorchCandidate)
    with pytest.raises(PassRefused) as caught:
        analyze(quantized)
    assert caught.value.code == "already_quantized"


def test_binary_metrics_are_those_of_a_confusion_matrix_by_hand() -> None:
    """TP 2, FP 1, FN 1, TN 4: F1 = 4/6; MCC = (2*4 - 1*1) / sqrt(3*3*5*5) = 7/15."""
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 0])
    predicted = np.array([1, 1, 0, 1, 0, 0, 0, 0])
    found = classification_metrics(np.eye(2)[predicted], labels)
    assert (found.top1, found.top5) == (0.75, None)
    assert found.f1_binary == pytest.approx(2 / 3)
    assert found.mcc == pytest.approx(7 / 15)
    assert found.f1_macro == pytest.approx((2 / 3 + 8 / 10) / 2)


def test_top_5_counts_the_five_best() -> None:
    logits = np.array([[6.0, 5, 4, 3, 2, 1], [6.0, 5, 4, 3, 2, 1]])
    found = classification_metrics(logits, np.array([4, 5]))
    assert (found.top1, found.top5) == (0.0, 0.5)
    assert found.f1_binary is None


@pytest.mark.parametrize("task", [*UNSUPPORTED_TASKS, "dreaming"])
def test_other_tasks_are_refused_with_a_reason(task: str) -> None:
    require_supported("classification")
    with pytest.raises(RequestInvalid) as caught:
        require_supported(task)
    assert caught.value.code == "task_unsupported"
