import io

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx, nn

from edgefleet_compression.candidate import OnnxCandidate, TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import ActivationFormat, Quantize, WeightFormat
from edgefleet_compression.quantization.activations import ActivationFakeQuant
from edgefleet_compression.quantization.graph import fold_batchnorm, list_points
from edgefleet_compression.quantization.modules import (
    QuantizedConv2d,
    QuantizedLinear,
    fake_quantize_weight,
    quantize_layer,
)
from edgefleet_compression.training.batchnorm import reestimate_batchnorm_


@pytest.fixture
def quantized(candidate: TorchCandidate, data: DataSet) -> TorchCandidate:
    made = apply(Quantize(), candidate, Context(data, seed=0))
    assert isinstance(made, TorchCandidate)
    return made


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), spread=st.floats(1e-4, 1e4))
def test_per_channel_error_is_at_most_half_a_step(seed: int, spread: float) -> None:
    torch.manual_seed(seed)
    conv = nn.Conv2d(3, 5, 3)
    with torch.no_grad():
        conv.weight.mul_(spread * torch.rand(5, 1, 1, 1))
    layer = quantize_layer(conv, WeightFormat()).eval()
    error = (fake_quantize_weight(layer) - layer.weight).abs().flatten(1).amax(dim=1)
    assert (error <= layer.weight_scale * 0.5 * (1 + 1e-5)).all()


def test_all_zero_channel_stays_zero() -> None:
    linear = nn.Linear(4, 2)
    with torch.no_grad():
        linear.weight[1] = 0.0
    assert (fake_quantize_weight(quantize_layer(linear, WeightFormat()).eval())[1] == 0).all()


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.5, 2.0), (-4.0, -1.0), (0.0, 0.0)])
def test_activation_range_holds_zero_exactly_and_errs_by_half_a_step(low: float, high: float) -> None:
    point = ActivationFakeQuant(ActivationFormat(), device=torch.device("cpu"))
    point.mode = "observe"
    x = torch.linspace(low, high, 1001)
    point(x)
    point.settle_()
    point.mode = "fixed"
    assert float(point(torch.zeros(1))) == 0.0
    assert float((point(x) - x).abs().max()) <= float(point.scale) * 0.5 * (1 + 1e-4)


def test_uint8_scale_is_the_range_over_255() -> None:
    """Range -1..3: scale 4/255, zero point round(255/4) = 64."""
    point = ActivationFakeQuant(ActivationFormat(), device=torch.device("cpu"))
    point.mode = "observe"
    point(torch.tensor([-1.0, 3.0]))
    point.settle_()
    assert float(point.scale) == pytest.approx(4 / 255)
    assert int(point.zero_point) == 64


def test_folded_graph_gives_the_same_outputs(candidate: TorchCandidate, data: DataSet) -> None:
    x = torch.from_numpy(data.test.x)
    reestimate_batchnorm_(candidate.model, torch.from_numpy(data.train.x))
    folded = fold_batchnorm(candidate.model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(x), candidate.model(x), rtol=1e-4, atol=1e-4)


def test_points_stand_where_a_runtime_stores_integers(quantized: TorchCandidate) -> None:
    assert list(list_points(quantized.model)) == [
        "fq_x",
        "fq_stem_relu",
        "fq_blocks_0_relu1",
        "fq_blocks_0_conv2",
        "fq_blocks_0_relu2",
        "fq_blocks_1_relu1",
        "fq_blocks_1_conv2",
        "fq_blocks_1_shortcut_0",
        "fq_blocks_1_relu2",
        "fq_pool",
        "fq_head",
    ]


def test_every_layer_is_quantized_first_and_last_included(quantized: TorchCandidate) -> None:
    layers = [m for m in quantized.model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    assert len(layers) == 7
    assert all(isinstance(layer, (QuantizedConv2d, QuantizedLinear)) for layer in layers)
    assert quantized.history[-1].skipped == ()


def test_biases_are_multiples_of_input_scale_times_weight_scale(quantized: TorchCandidate) -> None:
    stem, point = quantized.model.get_submodule("stem"), quantized.model.get_submodule("fq_x")
    assert isinstance(stem, QuantizedConv2d)
    assert isinstance(point, ActivationFakeQuant)
    assert stem.bias is not None
    integers = stem.bias.double() / (point.scale * stem.weight_scale).double()
    torch.testing.assert_close(integers, integers.round(), rtol=0, atol=1e-2)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_exported_graph_gives_the_simulated_integers(quantized: TorchCandidate, data: DataSet) -> None:
    """onnxruntime with all its fusions differs by at most one step of the output, and in under one per cent of it."""
    x = data.test.x
    buffer = io.BytesIO()
    torch.onnx.export(
        quantized.model,
        (torch.from_numpy(x[:1]),),
        buffer,  # type: ignore[arg-type]
        dynamo=False,
        opset_version=13,
        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
    )
    session = ort.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"input": x})[0]
    simulated = quantized.model(torch.from_numpy(x)).detach().numpy()
    steps = np.abs(found - simulated) / float(list(list_points(quantized.model).values())[-1].scale)
    assert steps.max() < 1.01
    assert (steps > 0.5).mean() < 0.01


def test_batchnorm_reestimation_finds_the_plain_statistics() -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(2)
    samples = torch.randn(64, 2, 4, 4) * 3 + 1
    assert reestimate_batchnorm_(nn.Sequential(norm), samples)
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, samples.mean(dim=(0, 2, 3)))
    assert norm.momentum == 0.1


def test_batchnorm_reestimation_twice_changes_nothing(candidate: TorchCandidate, data: DataSet) -> None:
    x = torch.from_numpy(data.train.x)
    reestimate_batchnorm_(candidate.model, x)
    first = {name: tensor.clone() for name, tensor in candidate.model.state_dict().items()}
    reestimate_batchnorm_(candidate.model, x)
    assert all(torch.equal(first[name], tensor) for name, tensor in candidate.model.state_dict().items())


def test_network_without_batchnorm_has_nothing_to_reestimate() -> None:
    assert not reestimate_batchnorm_(nn.Linear(2, 2), torch.zeros(4, 2))


def test_without_data_calibration_is_random_and_says_so(candidate: TorchCandidate) -> None:
    record = apply(Quantize(), candidate, Context(None, seed=0)).history[-1]
    assert record.notes == ("calibration_random",)


def test_quantized_candidate_is_not_quantized_again(quantized: TorchCandidate, data: DataSet) -> None:
    with pytest.raises(PassRefused) as caught:
        apply(Quantize(), quantized, Context(data, seed=0))
    assert caught.value.code == "already_quantized"


def test_onnx_graph_gets_a_plan(onnx_candidate: OnnxCandidate, data: DataSet) -> None:
    made = apply(Quantize(), onnx_candidate, Context(data, seed=5))
    assert isinstance(made, OnnxCandidate)
    assert made.plan is not None
    assert made.plan["calibration"] == {"observer": "minmax", "n_samples": 256, "source": "train", "seed": 5}
    assert made.traits.precision == "int8"
    assert onnx_candidate.plan is None
    with pytest.raises(PassRefused) as caught:
        apply(Quantize(), made, Context(data, seed=5))
    assert caught.value.code == "already_quantized"


def test_batchnorm_without_a_convolution_is_refused() -> None:
    with pytest.raises(PassRefused) as caught:
        fold_batchnorm(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(2)))
    assert caught.value.code == "batchnorm_not_foldable"


def test_network_with_data_dependent_control_flow_is_refused() -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(PassRefused) as caught:
        fold_batchnorm(Branching())
    assert caught.value.code == "not_traceable"


def test_quantized_model_is_an_fx_graph(quantized: TorchCandidate) -> None:
    assert isinstance(quantized.model, fx.GraphModule)
