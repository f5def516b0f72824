"""The comparison that joint training is put to: prune, quantize and distill one after the other in every order, or at once.

All recipes take the same number of steps (or epochs), and use the same three ingredients. Torch-free.
"""

from itertools import permutations
from typing import Final, Literal

from edgefleet_compression.errors import RecipeInvalid
from edgefleet_compression.passes.specs import (
    Budget,
    Distill,
    FakeQuant,
    Ingredient,
    LossWeights,
    Optimizer,
    Sparsify,
    Train,
)
from edgefleet_compression.recipe import Recipe

Stage = Literal["prune", "quantize", "distill"]
STAGES: Final[tuple[Stage, ...]] = ("prune", "quantize", "distill")
PRUNE: Final = Sparsify(amount=0.5)
QUANTIZE: Final = FakeQuant()
DISTILL: Final = Distill(teacher="fixed")
OPTIMIZER: Final = Optimizer(lr=0.02)


def sequential_orders(
    budget: Budget,
    *,
    prune: Sparsify = PRUNE,
    quantize: FakeQuant = QUANTIZE,
    distill: Distill = DISTILL,
    optimizer: Optimizer = OPTIMIZER,
    batch_size: int = 64,
) -> tuple[Recipe, ...]:
    """Return the six recipes ``prune-quantize-distill`` to ``distill-quantize-prune``: three trainings each, one per stage.

    The budget is shared out evenly, the last stage has the remainder. Fake-quant, once attached, stays: stages after
    ``quantize`` go on with it from step 0, since a quantized network cannot be trained otherwise. Zeros stay zero. Raises
    RecipeInvalid ``budget_too_small`` below one step or epoch for each stage.
    """
    made = []
    budgets = split_budget(budget, len(STAGES))
    for order in permutations(STAGES):
        trainings = []
        for place, (stage, share) in enumerate(zip(order, budgets, strict=True)):
            ingredients: list[Ingredient] = []
            if stage == "prune":
                ingredients.append(prune)
            if stage == "quantize" or "quantize" in order[:place]:
                ingredients.append(quantize.model_copy(update={"start_fraction": 0.0}))
            if stage == "distill":
                ingredients.append(distill)
            trainings.append(
                Train(budget=share, optimizer=optimizer, batch_size=batch_size, ingredients=tuple(ingredients))
            )
        made.append(Recipe(name="-".join(order), passes=tuple(trainings)))
    return tuple(made)


def joint_recipe(
    budget: Budget,
    *,
    prune: Sparsify = PRUNE,
    quantize: FakeQuant = QUANTIZE,
    distill: Distill = DISTILL,
    optimizer: Optimizer = OPTIMIZER,
    batch_size: int = 64,
    loss_weights: LossWeights | None = None,
    gradient_scaling: Literal["uniform", "adaptive"] = "uniform",
) -> Recipe:
    """Return the recipe ``joint``: all three at once in one training of the whole budget."""
    training = Train(
        budget=budget,
        optimizer=optimizer,
        batch_size=batch_size,
        loss_weights=loss_weights,
        gradient_scaling=gradient_scaling,
        ingredients=(prune, quantize, distill),
    )
    return Recipe(name="joint" if gradient_scaling == "uniform" else "joint-adaptive", passes=(training,))


def split_budget(budget: Budget, n_parts: int) -> tuple[Budget, ...]:
    """Return ``n_parts`` budgets that add up to the budget, the last with the remainder."""
    total = budget.steps if budget.steps is not None else budget.epochs
    assert total is not None
    if total < n_parts:
        raise RecipeInvalid(
            f"A budget of {total} cannot be shared by {n_parts} trainings: give at least {n_parts} steps or epochs.",
            code="budget_too_small",
        )
    each = total // n_parts
    parts = [each] * (n_parts - 1) + [total - each * (n_parts - 1)]
    return tuple(Budget(steps=part) if budget.steps is not None else Budget(epochs=part) for part in parts)
