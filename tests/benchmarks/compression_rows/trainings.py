"""Trainings beside their controls at equal budget: schedules against one shot, teachers against none, learned scales
against the largest weight's.

On CIFAR-10 one pass over 20,000 images: enough to tell apart what helps soon, not what would help in the long run. On digits
twelve epochs from three seeds: as long as the baseline itself was trained.
"""

from collections.abc import Iterator
from typing import Any, Final

from tests.benchmarks.compression_rows.row import Row

from edgefleet_compression.passes.specs import (
    AnyPass,
    Budget,
    Distill,
    FakeQuant,
    LearningRateSchedule,
    Optimizer,
    Sparsify,
    StructuredPrune,
    Train,
    WeightFormat,
)
from edgefleet_compression.passes.specs.ingredients import Ingredient
from edgefleet_compression.recipe import Recipe

SCHEDULES_TABLE: Final = "Schedules at 90 % zeros, one epoch"
TEACHERS_TABLE: Final = "Teachers of a network with 30 % fewer channels, one epoch"
SCALES_TABLE: Final = "Scales of 4-bit weights, one epoch"
DIGITS_SCHEDULES_TABLE: Final = "Schedules at 98 % zeros, digits, twelve epochs"
DIGITS_TEACHERS_TABLE: Final = "Teachers of a network with 70 % fewer channels, digits, twelve epochs"
ZEROS: Final = 0.9
DIGITS_ZEROS: Final = 0.98
N_STEPS: Final = 156
BATCH: Final = 128
ONE_SHOT: Final = "schedule-one_shot"
NO_TEACHER: Final = "teacher-none"
PEAK: Final = "scale-peak"


def training(*ingredients: Ingredient) -> Train:
    """Return the training that all rows here share but for its ingredients."""
    return Train(
        budget=Budget(steps=N_STEPS),
        batch_size=BATCH,
        optimizer=Optimizer(lr=0.02),
        lr_schedule=LearningRateSchedule(warmup_fraction=0.05),
        ingredients=ingredients,
    )


def zeros(**settings: Any) -> Train:
    """Return the training that ends with 90 % zeros; training goes on with all of them for its last 30 %."""
    return training(Sparsify.model_validate({"amount": ZEROS, **settings}))


def rows() -> Iterator[Row]:
    """Yield the rows of all tables."""
    yield from _cifar_rows()
    yield from _digits_rows()


def _cifar_rows() -> Iterator[Row]:
    for name in ("one_shot", "linear", "cubic", "exponential", "sigmoid", "step"):
        yield _row(f"schedule-{name}", SCHEDULES_TABLE, ONE_SHOT, zeros(schedule=name))
    yield _row(
        "schedule-convergence", SCHEDULES_TABLE, ONE_SHOT, zeros(pace={"kind": "convergence", "loss_ratio": 0.7})
    )
    yield _row("schedule-dynamic", SCHEDULES_TABLE, ONE_SHOT, zeros(scope="dynamic"))
    thinner = StructuredPrune(amount=0.3, round_to=1)
    yield _row(NO_TEACHER, TEACHERS_TABLE, NO_TEACHER, thinner, training())
    for name, distill in _teachers():
        yield _row(f"teacher-{name}", TEACHERS_TABLE, NO_TEACHER, thinner, training(distill))
    for scale in ("peak", "mse", "learned"):
        rounding = FakeQuant(weights=WeightFormat(bits=4, scale=scale), activations=None, start_fraction=0.3)
        yield _row(f"scale-{scale}", SCALES_TABLE, PEAK, training(rounding))


def _digits_rows() -> Iterator[Row]:
    for name, settings in _sparsities():
        ingredient = Sparsify.model_validate({"amount": DIGITS_ZEROS, **settings})
        yield _digits_row(f"schedule-{name}", DIGITS_SCHEDULES_TABLE, ONE_SHOT, _long_training(ingredient))
    thinner = StructuredPrune(amount=0.7, round_to=1)
    yield _digits_row(NO_TEACHER, DIGITS_TEACHERS_TABLE, NO_TEACHER, thinner, _long_training())
    for name, distill in _teachers():
        yield _digits_row(f"teacher-{name}", DIGITS_TEACHERS_TABLE, NO_TEACHER, thinner, _long_training(distill))


def _sparsities() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in ("one_shot", "linear", "cubic", "exponential", "sigmoid", "step"):
        yield name, {"schedule": name}
    yield "plateau", {"pace": {"kind": "plateau", "patience": 1}}
    yield "convergence", {"pace": {"kind": "convergence", "loss_ratio": 0.7}}
    yield "dynamic", {"scope": "dynamic"}


def _long_training(*ingredients: Ingredient) -> Train:
    return Train(
        budget=Budget(epochs=12),
        optimizer=Optimizer(lr=0.02),
        lr_schedule=LearningRateSchedule(warmup_fraction=0.05),
        ingredients=ingredients,
    )


def _digits_row(name: str, table: str, control: str, *passes: AnyPass) -> Row:
    return Row(
        name=f"digits-{name}",
        model="digits-resnet",
        recipe=Recipe(name=f"digits-{name}", passes=passes),
        target="onnxruntime",
        table=table,
        scale="sweep",
        seeds=(0, 1, 2),
        timed=False,
        control=None if name == control else f"digits-{control}",
        note="control" if name == control else "",
    )


def _teachers() -> Iterator[tuple[str, Distill]]:
    for method in ("logits", "dkd", "attention", "features"):
        yield f"fixed-{method}", Distill(teacher="fixed", method=method)
    yield "ema", Distill(teacher="ema", ema_decay=0.95)
    yield "same_class", Distill(teacher="same_class")


def _row(name: str, table: str, control: str, *passes: AnyPass) -> Row:
    return Row(
        name=name,
        model="resnet20",
        recipe=Recipe(name=name, passes=passes),
        target="onnxruntime-current",
        table=table,
        scale="sweep",
        data="cifar10-20k",
        timed=False,
        arithmetic="bfloat16" if table == TEACHERS_TABLE else None,
        control=None if name == control else control,
        note="control" if name == control else "",
    )
