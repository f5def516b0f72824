"""ResNet-20 on all training images: rows that take from ten minutes to half an hour of one CPU core each."""

from typing import Final, Literal

from tests.benchmarks.compression_rows.headline import float_training, int4_training, slimmed
from tests.benchmarks.compression_rows.row import Goal, Row

from edgefleet_compression.passes.specs import (
    ActivationFormat,
    AnyPass,
    Budget,
    Calibration,
    Distill,
    FakeQuant,
    LearningRateSchedule,
    Optimizer,
    Quantize,
    StructuredPrune,
    Synthesis,
    Train,
    WeightFormat,
)
from edgefleet_compression.recipe import Recipe

TABLE: Final = "ResNet-20, long rows"
STEPS_PER_EPOCH: Final = 352
"""45,000 images, 128 a step."""

HALVED_EPOCHS: Final = 10


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
    data_free: bool = False,
) -> Row:
    return Row(
        name=name,
        model="resnet20",
        recipe=Recipe(name=name, passes=passes),
        target=target,
        table=TABLE,
        arithmetic=None if data_free else "bfloat16",  # what rounds is computed in float32 anyway
        scale="full",
        goal=goal,
        control=control,
        note=note,
        data_free=data_free,
    )


def _int4(epochs: int, start: float = 0.5) -> Train:
    return int4_training(n_steps=epochs * STEPS_PER_EPOCH, start=start, augmentation="crop_flip")


W4A4: Final = FakeQuant(
    weights=WeightFormat(bits=4, scale="learned"),
    activations=ActivationFormat(bits=4, scale="learned"),
    start_fraction=0.0,
    lr_ratio=0.1,
)


def _data_free_training() -> Train:
    return Train(
        budget=Budget(steps=1000),
        batch_size=64,
        optimizer=Optimizer(lr=0.005),
        lr_schedule=LearningRateSchedule(warmup_fraction=0.05),
        synthesis=Synthesis(source="generator", n_samples=4096, steps=600),
        ingredients=(W4A4, Distill(teacher="fixed", alpha=1.0)),
    )


def _data_free_rounding(source: Literal["batchnorm", "random"]) -> Quantize:
    return Quantize(
        weights=WeightFormat(bits=4, scale="mse"),
        activations=ActivationFormat(bits=4),
        calibration=Calibration(observer="mse", source=source),
    )


ROWS: Final = (
    _row(
        "data-free-w4a4",
        (_data_free_training(),),
        data_free=True,
        goal=Goal(retention=0.972),
        note="a generator's images; published on the lossless CIFAR-10: 0.972 (Qimera, arXiv:2111.02625)",
    ),
    _row(
        "data-free-w4a4-rounded",
        (_data_free_rounding("batchnorm"),),
        data_free=True,
        note="calibrated on images made from BatchNorm statistics, no training",
    ),
    _row("data-free-w4a4-random", (_data_free_rounding("random"),), data_free=True, note="the same on random inputs"),
    _row("w4-qat", (_int4(4),), goal=Goal(retention=0.994), control="trained-on-long"),
    _row(
        "trained-on-long",
        (float_training(n_steps=4 * STEPS_PER_EPOCH, augmentation="crop_flip"),),
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
    _row("eighth-long", (slimmed(), _int4(4)), goal=Goal(retention=0.98, size_ratio=8.0)),
    _row("sixteenth", (pruned(0.36), distilled(10), _int4(5, 0.0)), goal=Goal(retention=0.95, size_ratio=16.0)),
)
