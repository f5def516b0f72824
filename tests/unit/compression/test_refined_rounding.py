"""AdaRound, cross-layer equalization and bias correction against nearest rounding at 4 bits."""

import copy
from typing import Any

import pytest
import torch
from torch import fx, nn

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import Quantize, WeightFormat
from edgefleet_compression.quantization.adaround import rectified_sigmoid, regulariser
from edgefleet_compression.quantization.equalization import equalize_
from edgefleet_compression.quantization.graph import fold_batchnorm, insert_fake_quant_
from edgefleet_compression.quantization.modules import quantized_layers
from edgefleet_compression.testing import tiny_candidate
from edgefleet_compression.training.batchnorm import reestimate_batchnorm_


@pytest.fixture(scope="module")
def uneven() -> fx.GraphModule:
    """Convolution, ReLU, depthwise convolution, ReLU, convolution, with channels of very different ranges."""
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
    network = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Conv2d(8, 4, 1))
    with torch.no_grad():
        first.weight.mul_(torch.logspace(-1.5, 1.5, 8).view(-1, 1, 1, 1))
        second.weight.mul_(torch.logspace(1.5, -1.5, 8).view(-1, 1, 1, 1))
    return fold_batchnorm(network)


def quantized(candidate: TorchCandidate, data: DataSet, **options: Any) -> TorchCandidate:
    document = {"weights": {"bits": 4}, "activations": None, **options}
    made = apply(Quantize.model_validate(document), candidate, Context(data, seed=0))
    assert isinstance(made, TorchCandidate)
    return made


def error_of(candidate: TorchCandidate, made: TorchCandidate, data: DataSet) -> float:
    """Mean squared change of the logits on the test split, which no rounding has seen."""
    x = torch.from_numpy(data.test.x)
    with torch.no_grad():
        return float((made.model(x) - candidate.model(x)).square().mean())


@pytest.fixture(scope="module")
def settled(data: DataSet) -> TorchCandidate:
    """A network with the BatchNorm statistics that every quantized one has."""
    candidate = tiny_candidate()
    reestimate_batchnorm_(candidate.model, torch.from_numpy(data.train.x))
    return candidate


def test_adaround_beats_nearest_at_four_bits(settled: TorchCandidate, data: DataSet) -> None:
    """Seen: 0.44 of the squared error of nearest rounding, on samples that were not calibrated on."""
    nearest = error_of(settled, quantized(settled, data), data)
    learned = error_of(settled, quantized(settled, data, rounding="adaround", rounding_steps=120), data)

    assert learned < 0.7 * nearest


def test_adaround_moves_no_weight_further_than_one_step(settled: TorchCandidate, data: DataSet) -> None:
    made = quantized(settled, data, rounding="adaround", rounding_steps=30)
    source = dict(fold_batchnorm(settled.model).named_parameters())

    for name, layer in quantized_layers(made.model).items():
        steps = (layer.weight - source[f"{name}.weight"]).detach().abs() / layer.weight_scale.view(
            -1, *([1] * (layer.weight.dim() - 1))
        )
        assert float(steps.max()) <= 1.0 + 1e-3


def test_rectified_sigmoid_reaches_both_ends_and_the_regulariser_is_zero_there() -> None:
    """Nagel et al. 2020, equations 23 and 24: h(V) is 0 from about V = -2.4 on, 1 from 2.4; h(0) is 0.5."""
    h = rectified_sigmoid(torch.tensor([-2.5, 0.0, 2.5]))

    assert h.tolist() == [0.0, 0.5, 1.0]
    assert float(regulariser(h[[0, 2]], 20.0)) == 0.0
    assert float(regulariser(h[[1]], 20.0)) == 1.0


def test_equalization_changes_no_output_and_levels_the_ranges(uneven: fx.GraphModule) -> None:
    leveled = copy.deepcopy(uneven)
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    assert equalize_(leveled) == ()

    torch.testing.assert_close(leveled(x), uneven(x), atol=1e-4, rtol=1e-4)
    first, second, third = (module for module in leveled.modules() if isinstance(module, nn.Conv2d))
    ranges = [first.weight.flatten(1), second.weight.flatten(1), third.weight.transpose(0, 1).flatten(1)]
    peaks = [rows.abs().amax(dim=1) for rows in ranges]
    torch.testing.assert_close(peaks[0], peaks[1], rtol=0.01, atol=1e-4)
    torch.testing.assert_close(peaks[1], peaks[2], rtol=0.01, atol=1e-4)


def test_equalization_beats_nearest_with_one_scale_per_tensor(uneven: fx.GraphModule) -> None:
    """The case of its paper: one scale for channels whose ranges differ a thousandfold."""
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    errors = {}
    for name in ("nearest", "equalized"):
        network = copy.deepcopy(uneven)
        if name == "equalized":
            equalize_(network)
        insert_fake_quant_(network, WeightFormat(bits=4, granularity="tensor"), None)
        with torch.no_grad():
            errors[name] = float((network(x) - uneven(x)).square().mean())

    assert errors["equalized"] < 0.1 * errors["nearest"]


def test_relu6_between_two_layers_is_named_and_refused_where_nothing_else_is_left() -> None:
    network = fold_batchnorm(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU6(), nn.Conv2d(8, 4, 1)))

    with pytest.raises(PassRefused) as caught:
        equalize_(network)

    assert caught.value.code == "nothing_to_equalize"
    assert caught.value.detail["skipped"] == ["0"]


def test_bias_correction_takes_the_mean_error_out(settled: TorchCandidate, data: DataSet) -> None:
    calibration = {"n_samples": 4096}  # the whole training split
    nearest = quantized(settled, data, calibration=calibration)
    corrected = quantized(settled, data, calibration=calibration, bias_correction=True)
    x = torch.from_numpy(data.train.x)

    with torch.no_grad():
        wanted = settled.model(x).mean(dim=0)
        errors = [(made.model(x).mean(dim=0) - wanted).abs().max() for made in (nearest, corrected)]

    assert float(errors[1]) < 1e-4
    assert float(errors[0]) > 100 * float(errors[1])
    assert error_of(settled, corrected, data) < error_of(settled, nearest, data)


def test_refined_eight_bit_weights_are_the_networks_own(settled: TorchCandidate, data: DataSet) -> None:
    made = quantized(settled, data, weights={"bits": 8}, rounding="adaround", rounding_steps=5)

    assert made.structure.quantization is not None
    assert made.structure.quantization.refined
    assert made.traits.precision == "int8-weights"
    assert quantized_layers(made.model)
