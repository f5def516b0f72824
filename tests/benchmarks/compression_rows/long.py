"""ResNet-20 on all training images: rows that take from ten minutes to half an hour of one CPU core each."""

from typing import Final

from tests.benchmarks.compression_rows.headline import float_training, int4_training, slimmed
from tests.benchmarks.compression_rows.row import Goal, Row

from edgefleet_compression.passes.specs import (
    AnyPass,
    Budget,
    Distill,
    LearningRateSchedule,
    Optimizer,
    Quantize,
    StructuredPrune,
    Train,
)
from edgefleet_compression.recipe import Recipe

TABLE: Final = "ResNet-20, long rows"
STEPS_PER_EPOCH: Final = 352
"""45,000 images, 128 a step."""

HALVED_EPOCHS: Final = 20


def distilled(epochs: int, lr: float = 0.05) -> Train:
    """Return a training in float, taught by the starting model."""
    return Train(
        budget=Budget(epochs=epochs),
        batch_size=128,
        augmentation="crop_flip",
        optimizer=Optimizer(lr=lr),
        lr_schedule=LearningRateSchedule(warmup_fraction=0.05),
        ingredients=(Distill(teacher="fixed"),),
    )


def pruned(amount: float, criterion: str = "magnitude_l1") -> StructuredPrune:
    """Return the pass that removes this share of every layer's channels."""
    return StructuredPrune.model_validate({"amount": amount, "criterion": criterion, "round_to": 1})


def _row(
    name: str,
    passes: tuple[AnyPass, ...],
    target: str = "onnxruntime-current",
    *,
    goal: Goal | None = None,
    control: str | None = None,
    note: str = "",
) -> Row:
    return Row(
        name=name,
        model="resnet20",
        recipe=Recipe(name=name, passes=passes),
        target=target,
        table=TABLE,
        scale="full",
        goal=goal,
        control=control,
        note=note,
    )


def _int4(epochs: int, start: float = 0.5) -> Train:
    return int4_training(n_steps=epochs * STEPS_PER_EPOCH, start=start, augmentation="crop_flip")


ROWS: Final = (
    _row("w4-qat", (_int4(8),), goal=Goal(retention=0.994), control="trained-on-long"),
    _row(
        "trained-on-long",
        (float_training(n_steps=8 * STEPS_PER_EPOCH, augmentation="crop_flip"),),
        note="control: as many steps, float, no teacher",
    ),
    _row(
        "half-macs",
        (pruned(0.305), distilled(HALVED_EPOCHS)),
        goal=Goal(retention=0.993, macs_ratio=2.1),
        control="half-macs-random",
        note="ordinary tools: 2.16x at 0.976 in 4 epochs",
    ),
    _row("half-macs-random", (pruned(0.305, "random"), distilled(HALVED_EPOCHS)), note="control: random channels"),
    _row(
        "half-macs-int8",
        (pruned(0.305), distilled(HALVED_EPOCHS), Quantize()),
        "litert",
        note="ordinary tools: 5.09x, 0.974, 5.73x",
    ),
    _row("eighth-long", (slimmed(), _int4(10)), goal=Goal(retention=0.98, size_ratio=8.0)),
    _row("sixteenth", (pruned(0.36), distilled(16), _int4(8, 0.0)), goal=Goal(retention=0.95, size_ratio=16.0)),
)
