"""Joint training: weighted losses, balanced gradients, and the sequential orders that it is compared with."""

import pytest
import torch

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import RecipeInvalid
from edgefleet_compression.orders import joint_recipe, sequential_orders, split_budget
from edgefleet_compression.passes.application import apply, run_recipe
from edgefleet_compression.passes.specs import Budget, Distill, LossWeights, Optimizer, Train
from edgefleet_compression.recipe import parse_recipe
from edgefleet_compression.stats import weight_sparsity
from edgefleet_compression.training.gradient_scaling import GradientScaling, balance
from edgefleet_compression.training.ingredient import Run


def test_balanced_norms_are_equal_and_factors_add_up_to_their_number() -> None:
    """By hand: norms 1 and 3 get 3/2 and 1/2, so both weigh 3/2."""
    assert balance({"labels": 1.0, "distill": 3.0}) == pytest.approx({"labels": 1.5, "distill": 0.5})
    assert balance({"labels": 2.0}) == {"labels": 1.0}
    assert balance({"labels": 2.0, "distill": 0.0})["distill"] == 1.0


def linear_run() -> Run:
    return Run(torch.nn.Linear(1, 1, bias=False), Optimizer(), n_steps=1, example=torch.zeros(1, 1))


def test_adaptive_gradients_of_two_losses_have_the_same_norm() -> None:
    """Losses 1 w and 9 w of one weight: after balancing each contributes 9/5."""
    run = linear_run()
    weight = run.model.weight
    assert isinstance(weight, torch.nn.Parameter)
    terms = {"labels": weight.sum(), "distill": 9 * weight.sum()}
    loss = GradientScaling(LossWeights(), "adaptive").combine(terms, run)
    assert float(torch.autograd.grad(loss, weight)[0]) == pytest.approx(2 * 9 / 5)


def test_uniform_scaling_is_the_weighted_sum_without_losses_of_weight_zero() -> None:
    run = linear_run()
    terms = {"labels": torch.tensor(2.0), "distill": torch.tensor(5.0), "sparsify": torch.tensor(7.0)}
    loss = GradientScaling(LossWeights(labels=0.5, distill=2.0), "uniform").combine(terms, run)
    assert float(loss) == pytest.approx(11.0)


def test_weights_of_alpha_give_the_training_that_alpha_gives(candidate: TorchCandidate, data: DataSet) -> None:
    distill = Distill(teacher="fixed", alpha=0.25)
    weighted = Train(
        budget=Budget(steps=4), ingredients=(distill,), loss_weights=LossWeights(labels=0.75, distill=0.25)
    )
    mixed = Train(budget=Budget(steps=4), ingredients=(distill,))
    made = [apply(spec, candidate, Context(data, 0, candidate)) for spec in (weighted, mixed)]
    first, second = (list(one.model.state_dict().values()) for one in made if isinstance(one, TorchCandidate))
    assert all(torch.allclose(a.float(), b.float(), atol=1e-5) for a, b in zip(first, second, strict=True))


def test_orders_are_all_six_and_spend_the_same_steps(candidate: TorchCandidate, data: DataSet) -> None:
    orders = sequential_orders(Budget(steps=10), batch_size=32)
    assert len({recipe.name for recipe in orders}) == 6
    for recipe in (*orders, joint_recipe(Budget(steps=10), batch_size=32)):
        assert parse_recipe(recipe.model_dump(mode="json")) == recipe
        made = run_recipe(recipe, candidate, data=data, seed=0)
        assert isinstance(made.candidate, TorchCandidate)
        assert sum(record.cost.steps for record in made.records) == 10
        assert made.candidate.traits.precision == "int8"
        assert weight_sparsity(made.candidate.model) == pytest.approx(0.5, abs=0.01)


def test_budget_is_shared_out_whole() -> None:
    assert [part.steps for part in split_budget(Budget(steps=11), 3)] == [3, 3, 5]
    assert [part.epochs for part in split_budget(Budget(epochs=6), 3)] == [2, 2, 2]
    with pytest.raises(RecipeInvalid) as caught:
        split_budget(Budget(steps=2), 3)
    assert caught.value.code == "budget_too_small"


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"gradient_scaling": "adaptive"}, "scaling_without_weights"),
        ({"loss_weights": {"labels": 0.0}}, "nothing_to_learn"),
    ],
)
def test_scaling_that_balances_nothing_is_refused(settings: dict[str, object], code: str) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        parse_recipe({"name": "x", "passes": [{"kind": "train", "budget": {"steps": 1}, **settings}]})
    assert caught.value.code == code
