"""Weights of 4 and 2 bits: grids, scales by three rules, training through rounding, and the file's integers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgefleet_compression.candidate import TorchCandidate, float_network, load_candidate, save_candidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import RecipeInvalid
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import Budget, FakeQuant, Quantize, Train, WeightFormat
from edgefleet_compression.quantization.grids import round_to_grid, weight_scales
from edgefleet_compression.quantization.modules import quantized_layers
from edgefleet_compression.recipe import parse_recipe
from edgefleet_compression.testing import tiny_candidate, tiny_data


@pytest.fixture(scope="module")
def data() -> DataSet:
    return tiny_data(n_samples=120)


def made_by(spec: Quantize | Train, data: DataSet | None = None) -> TorchCandidate:
    made = apply(spec, tiny_candidate(), Context(data, seed=0))
    assert isinstance(made, TorchCandidate)
    return made


def weights_only(bits: int, scale: str = "peak") -> Quantize:
    return Quantize.model_validate({"weights": {"bits": bits, "scale": scale}, "activations": None})


@pytest.mark.parametrize(("bits", "n_levels"), [(4, 15), (2, 3)])
def test_weights_take_as_many_values_as_the_bits_allow(bits: int, n_levels: int) -> None:
    made = made_by(weights_only(bits))

    for layer in quantized_layers(made.model).values():
        steps = layer.weight.detach() / layer.weight_scale.view(-1, *([1] * (layer.weight.dim() - 1)))
        torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0.0)
        assert len(set(steps.round().flatten().tolist())) <= n_levels


def test_the_mse_rule_errs_least() -> None:
    torch.manual_seed(0)
    weight = torch.distributions.StudentT(3.0).sample((6, 200))  # long tails: the peak wastes levels
    formats = [WeightFormat(bits=4), WeightFormat(bits=4, scale="mse")]

    errors = [
        (round_to_grid(weight, weight_scales(weight, one)[:, None], one.largest) - weight).square().sum(dim=1)
        for one in formats
    ]

    assert (errors[1] <= errors[0]).all()
    assert float(errors[1].sum()) < 0.9 * float(errors[0].sum())


def test_gradient_of_a_learned_scale_is_that_of_its_paper() -> None:
    """Esser et al. 2020, equation 3: round(w/s) - w/s inside the range, the largest integer outside."""
    weight, scale = torch.tensor([0.26, -0.9, 5.0, -7.0]), torch.tensor(0.5, requires_grad=True)

    round_to_grid(weight, scale, 7).sum().backward()  # type: ignore[no-untyped-call]

    expected = (round(0.52) - 0.52) + (round(-1.8) + 1.8) + 7.0 - 7.0
    assert scale.grad is not None
    assert float(scale.grad) == pytest.approx(expected, abs=1e-5)


def test_float_network_computes_what_the_rounded_one_does(data: DataSet) -> None:
    made = made_by(weights_only(4, "mse"), data)
    x = torch.from_numpy(data.test.x)

    torch.testing.assert_close(float_network(made)(x), made.model(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("scale", ["peak", "mse", "learned"])
def test_training_through_rounding_leaves_weights_on_their_grid(scale: str, data: DataSet, tmp_path: Path) -> None:
    ingredient = FakeQuant.model_validate({"weights": {"bits": 4, "scale": scale}, "activations": None})
    made = made_by(Train(budget=Budget(steps=6), ingredients=(ingredient,)), data)
    restored = load_candidate(save_candidate(made, tmp_path / "c.safetensors"))
    x = torch.from_numpy(data.test.x)

    assert made.traits.precision == "int4-weights"
    assert isinstance(restored, TorchCandidate)
    assert torch.equal(restored.model(x), made.model(x))
    for layer in quantized_layers(made.model).values():
        steps = (layer.weight.detach() / layer.weight_scale.view(-1, *([1] * (layer.weight.dim() - 1)))).numpy()
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
        assert not isinstance(layer.weight_scale, nn.Parameter)


def test_a_learned_scale_moves(data: DataSet) -> None:
    learned, fixed = (
        made_by(
            Train(
                budget=Budget(steps=6),
                ingredients=(
                    FakeQuant.model_validate(
                        {"weights": {"bits": 4, "scale": rule}, "activations": None, "lr_ratio": 1.0}
                    ),
                ),
            ),
            data,
        )
        for rule in ("learned", "mse")
    )

    pairs = zip(quantized_layers(learned.model).values(), quantized_layers(fixed.model).values(), strict=True)
    assert any(not torch.allclose(one.weight_scale, other.weight_scale) for one, other in pairs)


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "quantize", "weights": {"bits": 8, "granularity": "block"}},
        {"kind": "quantize", "weights": {"bits": 2, "granularity": "block"}, "activations": None},
        {"kind": "quantize", "weights": {"bits": 4, "scale": "learned"}, "activations": None},
    ],
)
def test_formats_nobody_can_write_are_refused(document: dict[str, object]) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        parse_recipe({"name": "x", "passes": [document]})

    assert caught.value.code == "format_unsupported"
