"""Which weights go: masks by structure and scope, dynamic shares, and what a sensitivity is measured on."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import Budget, Distill, Sparsify, SparsityStructure, Train
from edgefleet_compression.testing import tiny_candidate, tiny_data
from edgefleet_compression.training.dynamics import LayerDynamics
from edgefleet_compression.training.masks import LEAST_KEPT, allocate, make_masks
from edgefleet_compression.training.sparsify import weights_of


def scores(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_mask_drops_exactly_the_smallest_scores() -> None:
    masks = make_masks(
        {"a": torch.tensor([[3.0, 1.0]]), "b": torch.tensor([[0.5], [9.0]])}, 0.5, scope="global", structure="weights"
    )
    assert masks["a"].tolist() == [[True, False]]
    assert masks["b"].tolist() == [[False], [True]]


@given(amount=st.floats(0.01, 0.99), seed=st.integers(0, 50))
def test_single_weights_are_dropped_exactly(amount: float, seed: int) -> None:
    layers = {"a": scores(7, 5, 3, 3, seed=seed), "b": scores(4, 7, seed=seed + 1)}
    n = 7 * 5 * 9 + 28

    masks = make_masks(layers, amount, scope="global", structure="weights")

    assert sum(int((~mask).sum()) for mask in masks.values()) == round(amount * n)


def test_kernels_go_whole() -> None:
    mask = make_masks({"c": scores(8, 6, 3, 3)}, 0.5, scope="layer", structure="kernels")["c"].flatten(2)

    assert (mask.all(dim=2) | (~mask).all(dim=2)).all()
    assert float((~mask).double().mean()) == 0.5


def test_filters_with_the_smallest_mean_go_first_whatever_their_size() -> None:
    """One small layer with low scores, one large one with high scores: the small one's filters go."""
    layers = {"small": 0.1 * scores(4, 2, 3, 3), "large": 1.0 + scores(4, 20, 3, 3)}

    masks = make_masks(layers, 0.05, scope="global", structure="filters")

    assert masks["large"].all()
    kept = masks["small"].flatten(1)
    assert (kept.all(dim=1) | (~kept).all(dim=1)).all()
    assert not kept.all()


@pytest.mark.parametrize(("structure", "n", "m"), [("2:4", 2, 4), ("1:4", 1, 4), ("4:8", 4, 8)])
def test_n_of_every_m_stay_and_they_are_the_best(structure: SparsityStructure, n: int, m: int) -> None:
    score = scores(5, 16)
    mask = make_masks({"l": score}, 1 - n / m, scope="layer", structure=structure)["l"]

    parts, kept = score.view(5, -1, m), mask.view(5, -1, m)
    assert (kept.sum(dim=2) == n).all()
    assert (parts.masked_fill(~kept, 2).amin(dim=2) >= parts.masked_fill(kept, -1).amax(dim=2)).all()


def test_a_row_that_is_no_multiple_of_m_keeps_its_rest() -> None:
    mask = make_masks({"l": scores(3, 10)}, 0.5, scope="layer", structure="2:4")["l"]

    assert mask[:, 8:].all()


@given(
    amount=st.floats(0.1, 0.9),
    activity=st.lists(st.floats(0.01, 10.0), min_size=2, max_size=6),
)
def test_dynamic_shares_add_up_and_spare_active_layers(amount: float, activity: list[float]) -> None:
    names = [str(i) for i in range(len(activity))]
    sizes = {name: 1000 * (i + 1) for i, name in enumerate(names)}

    shares = allocate(amount, dict(zip(names, activity, strict=True)), sizes)

    total = sum(shares[name] * sizes[name] for name in names) / sum(sizes.values())
    assert total == pytest.approx(amount, abs=1e-6)
    assert all(-1e-9 <= share <= 1 - LEAST_KEPT + 1e-9 for share in shares.values())
    ordered = sorted(names, key=lambda name: activity[int(name)])
    assert all(shares[a] >= shares[b] - 1e-9 for a, b in itertools.pairwise(ordered))


def test_a_layer_that_does_not_move_is_least_active() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    dynamics, weights = LayerDynamics(), weights_of(model)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    x = torch.randn(16, 3)
    for _ in range(4):
        dynamics.watch({name: model.get_submodule(name) for name in weights})
        optimizer.zero_grad()
        model(x).square().mean().backward()
        dynamics.release(weights)
        optimizer.step()

    found = dynamics.activity(weights)

    assert found["0"] < found["2"]
    assert not any(module._forward_hooks for module in model.modules())


def train(sparsify: Sparsify, *others: Distill) -> TorchCandidate:
    candidate = tiny_candidate()
    spec = Train(budget=Budget(steps=8), ingredients=(sparsify, *others))
    made = apply(spec, candidate, Context(tiny_data(n_samples=80), seed=1, reference=candidate))
    assert isinstance(made, TorchCandidate)
    return made


def zero_share(model: nn.Module) -> float:
    weights = list(weights_of(model).values())
    return sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)


@pytest.mark.parametrize("structure", ["weights", "kernels", "2:4"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_zeros_stay_through_training(structure: SparsityStructure, scope: str) -> None:
    spec = Sparsify.model_validate(
        {"amount": 0.5, "structure": structure, "scope": scope, "every_steps": 1, "end_fraction": 0.5}
    )

    # the first convolution has one input channel: rows of 9 keep one weight each with 2:4
    assert zero_share(train(spec).model) == pytest.approx(0.5, abs=0.01)


def test_pruned_filters_never_include_the_output_layer() -> None:
    model = train(Sparsify(amount=0.9, structure="filters", every_steps=1, end_fraction=0.5)).model

    assert (weights_of(model)["head"].abs().sum(dim=1) > 0).all()


def test_dynamic_scope_reaches_the_asked_sparsity() -> None:
    made = train(Sparsify(amount=0.6, scope="dynamic", every_steps=1, end_fraction=0.6))

    assert 0.6 - 1e-3 <= zero_share(made.model) <= 0.7


def test_sensitivity_of_the_training_loss_differs_from_that_of_the_labels() -> None:
    """Early pruning with self-distillation (arXiv:2402.00084) scores weights on the loss it then trains with."""
    masks = []
    for sensitivity in ("labels", "training"):
        spec = Sparsify.model_validate(
            {"amount": 0.8, "criterion": "snip", "schedule": "one_shot", "sensitivity": sensitivity, "every_steps": 1}
        )
        masks.append({n: w != 0 for n, w in weights_of(train(spec, Distill(teacher="same_class")).model).items()})

    assert any(not torch.equal(masks[0][name], masks[1][name]) for name in masks[0])
