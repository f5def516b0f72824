"""Low rank: the mathematics against numpy's own decomposition, and the pass on a small network."""

import numpy as np
import pytest
import torch
from torch import nn

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.factorisation import Factorable, Form, factor, fill_, forms_of, split_layer
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import LowRank, Quantize, StructuredPrune
from edgefleet_compression.testing import tiny_candidate

LAYERS: dict[str, tuple[Factorable, torch.Tensor]] = {
    "linear": (nn.Linear(7, 5), torch.randn(3, 7)),
    "conv2d": (nn.Conv2d(4, 6, (3, 5), (2, 1), (1, 2)), torch.randn(2, 4, 9, 11)),
    "dilated": (nn.Conv2d(4, 6, 3, dilation=2, bias=False), torch.randn(2, 4, 9, 11)),
    "embedding": (nn.Embedding(11, 6), torch.arange(10).reshape(2, 5)),
}


def replaced(layer: Factorable, form: Form, rank: int) -> nn.Sequential:
    pair = split_layer(layer, form, rank)
    fill_(pair, layer, factor(layer, form))
    return pair


@pytest.mark.parametrize("name", LAYERS)
def test_full_rank_computes_the_same(name: str) -> None:
    layer, x = LAYERS[name]
    for form in forms_of(layer):
        pair = replaced(layer, form, len(factor(layer, form).energy))

        torch.testing.assert_close(pair(x), layer(x), atol=2e-6, rtol=1e-5)


def test_truncation_is_the_best_approximation_of_its_rank() -> None:
    # Eckart and Young 1936: the error is the root of the sum of the squares of the singular values left out
    layer = nn.Linear(12, 9, bias=False)
    weight = layer.weight.detach().numpy()
    singular = np.linalg.svd(weight, compute_uv=False)

    pair = replaced(layer, "channel", 4)
    first, second = (part.state_dict()["weight"].numpy() for part in pair)
    product = second @ first

    assert np.linalg.norm(weight - product) == pytest.approx(np.sqrt((singular[4:] ** 2).sum()), rel=1e-4)


def test_rank_follows_the_energy() -> None:
    layer = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.diag(torch.tensor([3.0, 2.0, 1.0])))  # squares 9, 4, 1 of 14
    factors = factor(layer, "channel")

    assert [factors.rank_for_energy(energy) for energy in (0.5, 0.64, 0.65, 0.92, 0.93, 1.0)] == [1, 1, 2, 2, 3, 3]
    assert factors.lost_energy(1) == pytest.approx(5 / 14)


def test_weights_per_rank_are_those_of_both_layers() -> None:
    layer = nn.Conv2d(4, 6, (3, 5))

    for form in forms_of(layer):
        pair = split_layer(layer, form, 1)

        assert factor(layer, form).n_per_rank == sum(part.state_dict()["weight"].numel() for part in pair)


def test_grouped_convolution_has_no_form() -> None:
    assert forms_of(nn.Conv2d(4, 4, 3, groups=4)) == ()


def factorised(spec: LowRank) -> TorchCandidate:
    made = apply(spec, tiny_candidate(), Context(data=None, seed=0))
    assert isinstance(made, TorchCandidate)
    return made


def test_layers_that_would_grow_stay_and_say_why() -> None:
    record = factorised(LowRank(energy=0.9)).history[-1]

    assert any("would not become smaller" in skip.reason for skip in record.skipped)
    assert record.after.n_parameters < record.before.n_parameters


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.8])
def test_parameters_ratio_is_met(ratio: float) -> None:
    record = factorised(LowRank(parameters_ratio=ratio)).history[-1]

    assert 0.8 * ratio <= record.after.n_parameters / record.before.n_parameters <= ratio


def test_nearly_all_energy_makes_nothing_smaller() -> None:
    with pytest.raises(PassRefused) as caught:
        factorised(LowRank(energy=0.9999999))

    assert caught.value.code == "nothing_to_factorise"


def test_a_ratio_below_rank_one_is_refused_with_the_smallest() -> None:
    with pytest.raises(PassRefused) as caught:
        factorised(LowRank(parameters_ratio=0.01))

    assert caught.value.code == "ratio_unreachable"
    assert caught.value.detail["smallest_ratio"] > 0.01


def test_pruning_after_factorisation_removes_ranks_too() -> None:
    made = factorised(LowRank(energy=0.6, form="channel"))
    pruned = apply(StructuredPrune(amount=0.5, round_to=1, min_channels=1), made, Context(data=None, seed=0))

    assert isinstance(pruned, TorchCandidate)
    assert {change.layer for change in pruned.history[-1].changes} & {f"{name}.0" for name in made.structure.factorised}


def test_quantizing_after_factorisation_works() -> None:
    made = apply(Quantize(), factorised(LowRank(energy=0.6)), Context(data=None, seed=0))

    assert made.traits.precision == "int8"
