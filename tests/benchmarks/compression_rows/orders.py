"""Joint against sequential: one training with all three ingredients, and three trainings with one each in all six orders.

Same steps, same zeros and same integers in every arm. Single weights are pruned, because channels cannot be removed after
numbers are fixed, so the files have equal bytes; eight times smaller is meant of gzip's bytes, as they are sent.
"""

from collections.abc import Iterator
from typing import Final

from tests.benchmarks.compression_rows.paired import JOINT_ARM
from tests.benchmarks.compression_rows.row import Row
from tests.benchmarks.compression_rows.tables import JOINT

from edgefleet_compression.orders import joint_recipe, sequential_orders
from edgefleet_compression.passes.specs import Budget, LossWeights, Sparsify
from edgefleet_compression.recipe import Recipe

SEEDS: Final = tuple(range(8))
PRUNE: Final = Sparsify(amount=0.75)


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
    yield from _arms("digits", "digits-resnet", "digits", recipes(Budget(steps=180), 64))
    yield from _arms("cifar", "resnet20", "cifar10-20k", recipes(Budget(steps=480), 128))


def _arms(prefix: str, model: str, data: str, arms: tuple[Recipe, ...]) -> Iterator[Row]:
    for recipe in arms:
        yield Row(
            name=f"{prefix}-{recipe.name}",
            model=model,
            recipe=recipe,
            target="onnxruntime",
            table=f"{JOINT}, {prefix}",
            scale="full",
            seeds=SEEDS,
            data=data,
            timed=False,
            note=f"{PRUNE.amount:.0%} zeros and int8 in every arm" if recipe.name == JOINT_ARM else "",
        )
