"""Joint against sequential: one training with all three ingredients, and three trainings with one each in all six orders.

Same steps, same zeros and same integers in every arm. Single weights are pruned, because channels cannot be removed after
numbers are fixed; the files have equal bytes, and eight times smaller is meant of gzip's bytes, as they are sent.
"""

from collections.abc import Iterator
from itertools import permutations
from typing import Final

from tests.benchmarks.compression_rows.row import Row
from tests.benchmarks.compression_rows.tables import JOINT

from edgefleet_compression.passes.specs import (
    Augmentation,
    Budget,
    Distill,
    FakeQuant,
    Ingredient,
    LearningRateSchedule,
    Optimizer,
    Sparsify,
    Train,
)
from edgefleet_compression.recipe import Recipe

SEEDS: Final = tuple(range(8))
ZEROS: Final = 0.7
LETTERS: Final = {"p": "sparsify", "q": "fake_quant", "d": "distill"}


def ingredient(letter: str, *, quantized_before: bool) -> tuple[Ingredient, ...]:
    """Return what a training of this letter adds; once numbers are integers every later training keeps them so."""
    kept = (FakeQuant(start_fraction=0.0, lr_ratio=1.0),) if quantized_before and letter != "q" else ()
    own: dict[str, Ingredient] = {
        "p": Sparsify(amount=ZEROS, end_fraction=0.7),
        "q": FakeQuant(start_fraction=0.0, lr_ratio=1.0),
        "d": Distill(teacher="fixed"),
    }
    return (own[letter], *kept)


def training(
    ingredients: tuple[Ingredient, ...], *, steps: int, lr: float, batch: int, augmentation: Augmentation
) -> Train:
    """Return one training of this length."""
    return Train(
        budget=Budget(steps=steps),
        batch_size=batch,
        augmentation=augmentation,
        optimizer=Optimizer(lr=lr),
        lr_schedule=LearningRateSchedule(warmup_fraction=0.05),
        ingredients=ingredients,
    )


def sequential(order: tuple[str, ...], steps: int, lr: float, batch: int, augmentation: Augmentation) -> list[Train]:
    """Return three trainings of ``steps`` each, in this order."""
    passes = []
    for index, letter in enumerate(order):
        added = ingredient(letter, quantized_before="q" in order[:index])
        # without BatchNorm, which integers fold away, the float rate diverges
        rate = lr / 10 if "q" in order[: index + 1] else lr
        passes.append(training(added, steps=steps, lr=rate, batch=batch, augmentation=augmentation))
    return passes


def joint(steps: int, lr: float, batch: int, augmentation: Augmentation) -> Train:
    """Return one training of three times ``steps`` with everything at once."""
    everything = (
        Sparsify(amount=ZEROS, end_fraction=0.5),
        FakeQuant(start_fraction=0.6, lr_ratio=0.1),
        Distill(teacher="fixed"),
    )
    return training(everything, steps=3 * steps, lr=lr, batch=batch, augmentation=augmentation)


def rows() -> Iterator[Row]:
    """Yield the arms on the digits, then those on ResNet-20."""
    yield from _arms("digits", "digits-resnet", "digits", steps=60, lr=0.02, batch=64, augmentation="none")
    yield from _arms("cifar", "resnet20", "cifar10-20k", steps=160, lr=0.02, batch=128, augmentation="crop_flip")


def _arms(
    prefix: str, model: str, data: str, *, steps: int, lr: float, batch: int, augmentation: Augmentation
) -> Iterator[Row]:
    recipes = {
        "".join(order): tuple(sequential(order, steps, lr, batch, augmentation)) for order in permutations(LETTERS)
    }
    recipes["joint"] = (joint(steps, lr, batch, augmentation),)
    for name, passes in recipes.items():
        yield Row(
            name=f"{prefix}-{name}",
            model=model,
            recipe=Recipe(name=f"{prefix}-{name}", passes=passes),
            target="onnxruntime",
            table=table(prefix),
            scale="full",
            seeds=SEEDS,
            data=data,
            timed=False,
            note="" if name != "joint" else f"{ZEROS:.0%} zeros and int8 in every arm, {3 * steps} steps each",
        )


def table(prefix: str) -> str:
    """Return the heading of the arms of this data set."""
    return f"{JOINT}, {prefix}"
