"""Bits per layer under a budget, and two groups of channels in a layer."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgefleet_compression.candidate import TorchCandidate, load_candidate, save_candidate
from edgefleet_compression.context import Context
from edgefleet_compression.criteria import Scene
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import BitAllocation, BitChoice, Budget, FakeQuant, Quantize, Train
from edgefleet_compression.quantization.allocation import Costs, choose_bits, costs_of, stored_bytes
from edgefleet_compression.quantization.modules import quantized_layers
from edgefleet_compression.quantization.sensitivity import Harm, hessian_traces

CHOICES: tuple[BitChoice, ...] = (8, 4, 2)


def mixed(candidate: TorchCandidate, data: DataSet, **options: object) -> TorchCandidate:
    spec = Quantize.model_validate({"weights": {"bits": 4}, "activations": None, **options})
    made = apply(spec, candidate, Context(data, seed=0))
    assert isinstance(made, TorchCandidate)
    return made


@pytest.mark.parametrize("seed", range(5))
def test_chosen_bits_are_those_of_trying_all(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    names = "abcde"
    values = torch.rand(2, len(names), 3, generator=generator)
    harm: Harm = {
        name: {bits: float(values[0, i, j]) for j, bits in enumerate(CHOICES)} for i, name in enumerate(names)
    }
    costs: Costs = {
        name: {bits: float(values[1, i, j]) for j, bits in enumerate(CHOICES)} for i, name in enumerate(names)
    }
    budget = 2.0

    chosen = choose_bits(harm, costs, budget)

    def total(table: Harm | Costs, picks: tuple[BitChoice, ...]) -> float:
        return sum(table[name][bits] for name, bits in zip(names, picks, strict=True))

    possible = [picks for picks in itertools.product(CHOICES, repeat=5) if total(costs, picks) <= budget]
    best = min(total(harm, picks) for picks in possible)
    assert total(harm, tuple(chosen[name] for name in names)) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(10))
def test_harms_of_very_different_size_do_not_hide_the_best_choice(seed: int) -> None:
    """Rounding the first layer to 2 bits harms a billion times as much as the last one to 8: all of it counts."""
    rng = np.random.default_rng(seed)
    names = "abcdef"
    harm: Harm = {
        name: dict(zip(CHOICES, np.sort(10.0 ** rng.uniform(-9, 1, 3)).tolist(), strict=True)) for name in names
    }
    n_weights = {name: int(10 ** rng.uniform(2, 6)) for name in names}
    costs: Costs = {name: {bits: n_weights[name] * bits / 8 + 40.0 for bits in CHOICES} for name in names}
    budget = sum(row[4] for row in costs.values())

    chosen = choose_bits(harm, costs, budget)

    def total(table: Harm | Costs, picks: tuple[BitChoice, ...]) -> float:
        return sum(table[name][bits] for name, bits in zip(names, picks, strict=True))

    possible = [picks for picks in itertools.product(CHOICES, repeat=6) if total(costs, picks) <= budget]
    best = min(total(harm, picks) for picks in possible)
    picks = tuple(chosen[name] for name in names)
    assert total(harm, picks) == pytest.approx(best, rel=1e-9)
    assert total(costs, picks) <= budget


def test_budget_below_the_cheapest_bits_is_refused_with_what_it_would_take() -> None:
    with pytest.raises(PassRefused) as caught:
        choose_bits({"a": {8: 0.0, 4: 1.0}}, {"a": {8: 8.0, 4: 4.0}}, 3.0)

    assert caught.value.code == "budget_impossible"
    assert caught.value.detail == {"least": 4.0, "budget": 3.0}


def test_table_that_lacks_a_layer_is_refused() -> None:
    spec = BitAllocation(latency_ms=1.0, choices=(8, 4), table={"a": {"8": 1.0, "4": 0.5}})

    with pytest.raises(PassRefused) as caught:
        costs_of(spec, {"a": (10, 2), "b": (10, 2)})

    assert caught.value.code == "table_incomplete"
    assert caught.value.detail["lacking"] == ["b: 4", "b: 8"]


def test_hutchinson_finds_the_trace_of_a_known_hessian(data: DataSet) -> None:
    """The loss sum(a w^2) / 2 has the Hessian diag(a): random signs give its trace exactly."""
    layer = nn.Linear(3, 1, bias=False)
    factors = torch.tensor([[1.0, 2.0, 4.0]])
    scene = Scene(
        layer,
        torch.zeros(1, 3),
        data,
        torch.Generator().manual_seed(0),
        loss=lambda *_: (factors * layer.weight.square()).sum() / 2,
    )

    assert hessian_traces({"w": layer.weight}, scene) == {"w": pytest.approx(7.0)}


@pytest.mark.parametrize("sensitivity", ["output_kl", "hessian"])
def test_size_budget_is_kept_and_used(sensitivity: str, candidate: TorchCandidate, data: DataSet) -> None:
    layers = {name: layer.weight for name, layer in quantized_layers(mixed(candidate, data).model).items()}
    at = {bits: sum(stored_bytes(w.numel(), len(w), bits) for w in layers.values()) for bits in CHOICES}
    budget = (at[8] + at[4]) // 2

    made = mixed(candidate, data, allocation={"size_bytes": budget, "sensitivity": sensitivity, "choices": (8, 4)})

    plan = made.structure.quantization
    assert plan is not None
    assert set(plan.layer_bits) == set(layers)
    assert set(plan.layer_bits.values()) == {8, 4}
    bits_of = {name: 8 if bits == 8 else 4 for name, bits in plan.layer_bits.items()}
    found = sum(w.numel() * bits_of[name] // 8 + 4 * len(w) for name, w in layers.items())
    assert 0.85 * budget < found <= budget
    assert 4.0 < made.history[-1].metrics["mean_weight_bits"] < 8.0


def test_two_bits_cost_what_the_file_will_store_them_as() -> None:
    layers = {"a": (100, 4)}

    wide, narrow = (
        costs_of(BitAllocation.model_validate({"size_bytes": 90, "narrowest_stored": bits}), layers) for bits in (4, 2)
    )

    assert wide == {"a": {8: 116.0, 4: 66.0, 2: 66.0}}
    assert narrow == {"a": {8: 116.0, 4: 66.0, 2: 41.0}}


def test_tight_latency_table_decides_instead_of_bytes(candidate: TorchCandidate, data: DataSet) -> None:
    names = list(quantized_layers(mixed(candidate, data).model))
    table = {name: {"8": 2.0, "4": 1.0, "2": 0.5} for name in names}

    made = mixed(candidate, data, allocation={"latency_ms": 0.5 * len(names), "table": table})

    assert made.structure.quantization is not None
    assert set(made.structure.quantization.layer_bits.values()) == {2}


def test_important_channels_have_eight_bits_and_the_others_four(candidate: TorchCandidate, data: DataSet) -> None:
    made = mixed(candidate, data, hybrid={"share": 0.25})
    plain = mixed(candidate, data)

    for name, layer in quantized_layers(made.model).items():
        assert layer.weight_bits is not None
        rows = layer.weight.detach().flatten(1)
        sums = quantized_layers(plain.model)[name].weight.detach().flatten(1).abs().sum(dim=1)
        n_important = -(-len(rows) // 4)
        assert int((layer.weight_bits == 8).sum()) == n_important
        assert float(sums[layer.weight_bits == 8].mean()) > float(sums[layer.weight_bits == 4].mean())
        integers = (rows / layer.weight_scale[:, None]).round().abs().amax(dim=1)
        assert (integers[layer.weight_bits == 4] <= 7).all()
        assert (integers[layer.weight_bits == 8] == 127).all()


@pytest.mark.parametrize("options", [{"hybrid": {}}, {"allocation": {"size_bytes": 13_000}}])
def test_training_goes_on_with_the_bits_that_were_chosen(
    options: dict[str, object], candidate: TorchCandidate, data: DataSet, tmp_path: Path
) -> None:
    chosen = mixed(candidate, data, **options)
    ingredient = FakeQuant(start_fraction=0.0)

    made = apply(Train(budget=Budget(steps=3), ingredients=(ingredient,)), chosen, Context(data, seed=0))

    assert isinstance(made, TorchCandidate)
    assert made.structure.quantization is not None
    assert chosen.structure.quantization is not None
    assert made.structure.quantization.layer_bits == chosen.structure.quantization.layer_bits
    assert made.traits.precision == "int4-weights"
    restored = load_candidate(save_candidate(made, tmp_path / "c.safetensors"))
    assert isinstance(restored, TorchCandidate)
    x = torch.from_numpy(data.test.x)
    assert torch.equal(restored.model(x), made.model(x))


def test_two_groups_err_less_than_four_bits_alone(candidate: TorchCandidate, data: DataSet) -> None:
    x = torch.from_numpy(data.test.x)
    reference = mixed(candidate, data, weights={"bits": 8}, rounding="adaround", rounding_steps=1)
    with torch.no_grad():
        wanted = reference.model(x)
        plain, grouped = (
            float((made.model(x) - wanted).square().mean())
            for made in (mixed(candidate, data), mixed(candidate, data, hybrid={"share": 0.5}))
        )

    assert grouped < 0.9 * plain
