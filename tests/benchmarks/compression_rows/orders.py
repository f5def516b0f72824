"""Joint against sequential: one training with all three ingredients, and three trainings with one each in all six orders.

Every arm begins with the same removal of channels, untrained, which with 8-bit numbers makes the file an eighth of the
float one. After it come the same steps with the same zeros and the same integers. The pruning that takes its turn sets
single weights to zero, because channels cannot be removed once numbers are fixed: its zeros are no part of the eighth.
"""

from collections.abc import Iterator
from typing import Final

from tests.benchmarks.compression_rows.paired import JOINT_ARM
from tests.benchmarks.compression_rows.row import Goal, Row, Scale
from tests.benchmarks.compression_rows.tables import JOINT

from edgefleet_compression.orders import joint_recipe, sequential_orders
from edgefleet_compression.passes.specs import Budget, LossWeights, Sparsify, StructuredPrune
from edgefleet_compression.recipe import Recipe

SEEDS: Final = tuple(range(6))
PRUNE: Final = Sparsify(amount=0.75)
EIGHTH: Final = Goal(size_ratio=8.0)


def thinner(amount: float) -> StructuredPrune:
    """Return the pass that every arm begins with."""
    return StructuredPrune(amount=amount, round_to=1)


def recipes(budget: Budget, batch_size: int) -> tuple[Recipe, ...]:
    """Return the arms: joint first, joint with balanced gradients, then the six orders."""
    return (
        joint_recipe(budget, prune=PRUNE, batch_size=batch_size),
        joint_recipe(
            budget, prune=PRUNE, batch_size=batch_size, loss_weights=LossWeights(), gradient_scaling="adaptive"
        ),
        *sequential_orders(budget, prune=PRUNE, batch_size=batch_size),
    )


def rows() -> Iterator[Row]:
    """Yield the arms on the digits, then those on ResNet-20."""
    yield from _arms("digits", "digits-resnet", "digits", recipes(Budget(steps=180), 64), thinner(0.34), "full")
    yield from _arms("cifar", "resnet20", "cifar10-20k", recipes(Budget(steps=480), 128), thinner(0.36), "gpu")


def _arms(
    prefix: str, model: str, data: str, arms: tuple[Recipe, ...], first: StructuredPrune, scale: Scale
) -> Iterator[Row]:
    for recipe in arms:
        yield Row(
            name=f"{prefix}-{recipe.name}",
            model=model,
            recipe=recipe.model_copy(update={"passes": (first, *recipe.passes)}),
            target="onnxruntime",
            table=f"{JOINT}, {prefix}",
            scale=scale,
            seeds=SEEDS,
            data=data,
            timed=False,
            goal=EIGHTH,
            note=f"every arm: {first.amount:.0%} of the channels removed, then {PRUNE.amount:.0%} zeros and int8 over the same steps"
            if recipe.name == JOINT_ARM
            else "",
        )
