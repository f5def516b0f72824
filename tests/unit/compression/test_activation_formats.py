"""Ranges of activations by four observers, 4 bits, symmetric zero points, learned scales; weights of 1 bit and per tensor."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import nn

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import (
    ActivationFormat,
    Budget,
    Calibration,
    FakeQuant,
    Quantize,
    Train,
    WeightFormat,
)
from edgefleet_compression.quantization.activations import ActivationFakeQuant
from edgefleet_compression.quantization.calibration import calibrate_
from edgefleet_compression.quantization.graph import list_points
from edgefleet_compression.quantization.grids import take_signs, weight_scales
from edgefleet_compression.quantization.modules import quantized_layers
from edgefleet_compression.quantization.observers import N_BINS, OBSERVERS, Histogram, empty_histogram

N_SAMPLES = 400_000


def histogram_of(x: torch.Tensor) -> Histogram:
    histogram = empty_histogram(float(x.min()), float(x.max()))
    histogram.add(x)
    return histogram


@pytest.fixture(scope="module")
def laplace() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.distributions.Laplace(0.0, 1.0).sample((N_SAMPLES,))


def test_percentile_is_that_of_numpy(laplace: torch.Tensor) -> None:
    calibration = Calibration(observer="percentile", percentile=99.0)

    low, high = OBSERVERS["percentile"](histogram_of(laplace), 256, calibration)

    expected = np.percentile(laplace.numpy(), [1.0, 99.0])
    assert (low, high) == pytest.approx(tuple(expected), abs=0.02)


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [(torch.distributions.Normal(0.0, 1.0), 2.55), (torch.distributions.Laplace(0.0, 1.0), 5.03)],
)
def test_mse_clips_four_bits_where_its_closed_form_says(
    distribution: torch.distributions.Distribution, expected: float
) -> None:
    """ACIQ, Banner et al. 2019, arXiv:1810.05723: optimal clipping at 4 bits, in sigma of a normal, in b of a Laplace."""
    torch.manual_seed(0)
    x = distribution.sample(torch.Size((N_SAMPLES,)))

    _, high = OBSERVERS["mse"](histogram_of(torch.cat([x, -x])), 16, Calibration(observer="mse"))

    assert high == pytest.approx(expected, rel=0.06)


def divergence_by_the_slides(bins: list[float], n_kept: int, n_levels: int) -> float:
    """Migacz 2017, slides 36 to 38, word for word: P with the outliers in its last bin, Q through n_levels and back."""
    kept = bins[:n_kept]
    p = [*kept[:-1], kept[-1] + sum(bins[n_kept:])]
    q = [0.0] * n_kept
    for level in range(n_levels):
        members = [i for i in range(n_kept) if i * n_levels // n_kept == level and kept[i] > 0]
        for i in members:
            q[i] = sum(kept[j] for j in members) / len(members)
    return float(entropy(p, q))


def test_entropy_is_least_by_the_pseudo_code_of_its_slides(laplace: torch.Tensor) -> None:
    histogram = histogram_of(torch.cat([laplace, -laplace]))
    bins = (histogram.counts[N_BINS:] + histogram.counts[:N_BINS][::-1]).tolist()
    bins[0] = bins[1]

    low, high = OBSERVERS["entropy"](histogram, 16, Calibration(observer="entropy"))

    chosen = round(high / histogram.peak * N_BINS)
    assert low == pytest.approx(-high)
    assert chosen < N_BINS
    found = divergence_by_the_slides(bins, chosen, 8)
    assert all(found <= divergence_by_the_slides(bins, n_kept, 8) for n_kept in range(8, N_BINS + 1, 200))


def test_every_observer_ends_in_a_range_with_zero_in_it(laplace: torch.Tensor) -> None:
    for values in (laplace, laplace.abs() + 1.0, -laplace.abs() - 1.0, torch.zeros(10)):
        for name in OBSERVERS:
            point = ActivationFakeQuant(ActivationFormat(), device=torch.device("cpu"))
            model = nn.Sequential(point)
            calibrate_(model, values[:5000].view(-1, 1), Calibration.model_validate({"observer": name}))
            assert 0 <= int(point.zero_point) <= 255
            assert float(point.scale) > 0


def test_mse_observer_errs_less_than_minmax_at_four_bits(laplace: torch.Tensor) -> None:
    errors = {}
    for name in ("minmax", "percentile", "entropy", "mse"):
        point = ActivationFakeQuant(ActivationFormat(bits=4), device=torch.device("cpu"))
        calibrate_(nn.Sequential(point), laplace[:, None], Calibration.model_validate({"observer": name}))
        errors[name] = float((point(laplace) - laplace).square().mean())

    assert min(errors, key=errors.__getitem__) == "mse"
    assert errors["mse"] < 0.5 * errors["minmax"]


@pytest.mark.parametrize(("signed", "zero_point"), [(True, 0), (False, 128)])
def test_symmetric_range_has_zero_in_the_middle(signed: bool, zero_point: int) -> None:
    """The largest of -1 .. 3 is the integer 127 steps above zero."""
    point = ActivationFakeQuant(ActivationFormat(signed=signed, symmetric=True), device=torch.device("cpu"))
    calibrate_(nn.Sequential(point), torch.tensor([[-1.0], [3.0]]), Calibration())

    assert int(point.zero_point) == zero_point
    assert float(point.scale) == pytest.approx(3.0 / 127)


@pytest.mark.parametrize(("bits", "n_levels"), [(8, 256), (4, 16)])
def test_activations_take_as_many_values_as_the_bits_allow(bits: int, n_levels: int, laplace: torch.Tensor) -> None:
    point = ActivationFakeQuant(ActivationFormat.model_validate({"bits": bits}), device=torch.device("cpu"))
    calibrate_(nn.Sequential(point), laplace[:, None], Calibration())

    n_found = len(torch.unique(point(laplace)))
    assert n_levels // 2 < n_found <= n_levels


def test_signs_times_the_mean_magnitude_err_least() -> None:
    """Rastegari et al. 2016, equation 6: the optimal scale of signs is mean|w|. Hand-worked: |1| + |-3| + |2| over 3 is 2."""
    weight = torch.tensor([[1.0, -3.0, 2.0]])

    scale = weight_scales(weight, WeightFormat(bits=1))

    assert scale.tolist() == [2.0]
    assert take_signs(weight, scale[:, None]).tolist() == [[2.0, -2.0, 2.0]]
    tried = [float((take_signs(weight, torch.tensor(s)) - weight).square().sum()) for s in np.linspace(0.1, 4, 79)]
    assert float((take_signs(weight, scale[:, None]) - weight).square().sum()) <= min(tried) + 1e-6


def test_one_scale_per_tensor_is_that_of_its_largest_weight(data: DataSet, candidate: TorchCandidate) -> None:
    spec = Quantize.model_validate({"weights": {"bits": 8, "granularity": "tensor"}, "activations": None})

    made = apply(spec, candidate, Context(data, seed=0))

    assert isinstance(made, TorchCandidate)
    assert made.traits.precision == "int8-weights"
    for layer in quantized_layers(made.model).values():
        expected = float(layer.weight.detach().abs().max()) / 127
        torch.testing.assert_close(layer.weight_scale, torch.full_like(layer.weight_scale, expected))


def test_gradient_of_a_learned_activation_scale_is_that_of_its_paper() -> None:
    """Esser et al. 2020, equation 3, over sqrt(values per sample * 255); the zero point is 0 here."""
    point = ActivationFakeQuant(ActivationFormat(scale="learned"), device=torch.device("cpu"))
    point.learn_()
    x = torch.tensor([[0.3, 1.7, 300.0]])

    point(x).sum().backward()

    expected = (round(0.3) - 0.3 + round(1.7) - 1.7 + 255) / (3 * 255) ** 0.5
    assert point.scale.grad is not None
    assert float(point.scale.grad) == pytest.approx(expected, rel=1e-5)


def test_learned_scales_move_and_are_fixed_at_the_end(data: DataSet, candidate: TorchCandidate) -> None:
    ingredient = FakeQuant.model_validate(
        {"activations": {"bits": 4, "scale": "learned"}, "start_fraction": 0.0, "lr_ratio": 1.0}
    )
    short, long = (
        apply(Train(budget=Budget(steps=steps), ingredients=(ingredient,)), candidate, Context(data, seed=0))
        for steps in (1, 6)
    )

    assert isinstance(short, TorchCandidate)
    assert isinstance(long, TorchCandidate)
    pairs = list(zip(list_points(short.model).values(), list_points(long.model).values(), strict=True))
    assert any(float(one.scale) != float(other.scale) for one, other in pairs)
    assert not any(isinstance(other.scale, nn.Parameter) for _, other in pairs)
    assert long.traits.precision == "int4"


@pytest.mark.parametrize(
    "document",
    [
        {"weights": {"bits": 2}, "activations": None},
        {"activations": {"symmetric": True}},
        {"calibration": {"observer": "entropy"}},
    ],
)
def test_what_the_compilers_own_tool_cannot_do_is_refused_for_onnx_graphs(
    document: dict[str, object], onnx_candidate: object
) -> None:
    with pytest.raises(PassRefused) as caught:
        apply(Quantize.model_validate(document), onnx_candidate, Context(None, seed=0))  # type: ignore[arg-type]

    assert caught.value.code == "needs_torch_model"
