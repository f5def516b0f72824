"""The rows with a goal that are done in minutes; their controls that train belong to the sweep."""

from typing import Final

from tests.benchmarks.compression_rows.row import Goal, Row, Scale

from edgefleet_compression.passes.specs import (
    AnyPass,
    Augmentation,
    Budget,
    Calibration,
    Distill,
    FakeQuant,
    LearningRateSchedule,
    Optimizer,
    Quantize,
    StructuredPrune,
    Train,
    WeightFormat,
)
from edgefleet_compression.recipe import Recipe

TABLE: Final = "ResNet-20, quick rows"
DATA: Final = "cifar10-20k"
INT4: Final = WeightFormat(bits=4, scale="learned")
N_STEPS: Final = 157
"""One pass over 20,000 images, 128 a step: a minute or two of one quiet core with a teacher."""

BATCH: Final = 128


def int4_training(
    *,
    n_steps: int = N_STEPS,
    lr: float = 0.01,
    start: float = 0.4,
    distilled: bool = True,
    augmentation: Augmentation = "none",
) -> Train:
    """Return a training that ends with 4-bit weights and learned scales, by default taught by the starting model.

    No augmentation by default: the quick rows' images are moved already.
    """
    quantized = FakeQuant(weights=INT4, activations=None, start_fraction=start, lr_ratio=0.1)
    taught: tuple[Distill, ...] = (Distill(teacher="fixed"),) if distilled else ()
    return Train(
        budget=Budget(steps=n_steps),
        batch_size=BATCH,
        augmentation=augmentation,
        optimizer=Optimizer(lr=lr),
        lr_schedule=LearningRateSchedule(warmup_fraction=0.05),
        ingredients=(quantized, *taught),
    )


def float_training(*, n_steps: int = N_STEPS, lr: float = 0.01, augmentation: Augmentation = "none") -> Train:
    """Return the same training with neither teacher nor rounding: the control of the budget."""
    made = int4_training(n_steps=n_steps, lr=lr, distilled=False, augmentation=augmentation)
    return made.model_copy(update={"ingredients": ()})


def slimmed(criterion: str = "magnitude_l2") -> StructuredPrune:
    """Return the mild structured pruning that makes the 4-bit file an eighth of the float one."""
    return StructuredPrune.model_validate({"amount": 0.06, "criterion": criterion, "round_to": 1, "scope": "layer"})


def _row(
    name: str,
    passes: tuple[AnyPass, ...],
    target: str,
    *,
    goal: Goal | None = None,
    control: str | None = None,
    other_controls: tuple[str, ...] = (),
    note: str = "",
    scale: Scale = "quick",
    data_free: bool = False,
) -> Row:
    return Row(
        name=name,
        model="resnet20",
        recipe=Recipe(name=name, passes=passes),
        target=target,
        table=TABLE,
        data=DATA,
        goal=goal,
        control=control,
        other_controls=other_controls,
        note=note,
        scale=scale,
        data_free=data_free,
    )


EIGHTH: Final = Goal(retention=0.95, size_ratio=8.0)
PTQ: Final = Goal(retention=0.995, size_ratio=3.3)

ROWS: Final = (
    _row("int8-litert", (Quantize(),), "litert", goal=PTQ, note="ordinary tools: 3.37x, 0.999, 2.63x"),
    _row("int8-onnxruntime", (Quantize(),), "onnxruntime", goal=PTQ, note="ordinary tools, lean: 3.46x, 1.001, 2.07x"),
    _row(
        "data-free-w8a8",
        (Quantize(calibration=Calibration(source="batchnorm", synthesis_steps=100)),),
        "litert",
        data_free=True,
        goal=Goal(retention=0.993),
        control="data-free-random",
        note="calibrated on images made from BatchNorm statistics",
    ),
    _row("data-free-random", (Quantize(),), "litert", data_free=True, note="control: calibrated on random inputs"),
    _row("eighth-litert", (slimmed(), int4_training()), "litert", goal=EIGHTH),
    _row(
        "eighth-onnxruntime",
        (slimmed(), int4_training()),
        "onnxruntime-current",
        goal=EIGHTH,
        control="eighth-random-ort",
        other_controls=("eighth-no-teacher", "eighth-rounded-afterwards"),
    ),
    _row(
        "eighth-random-ort",
        (slimmed("random"), int4_training()),
        "onnxruntime-current",
        note="control: random channels",
        scale="sweep",
    ),
    _row(
        "eighth-no-teacher",
        (slimmed(), int4_training(distilled=False)),
        "onnxruntime-current",
        note="control: no teacher",
        scale="sweep",
    ),
    _row(
        "eighth-rounded-afterwards",
        (slimmed(), float_training(), Quantize(weights=WeightFormat(bits=4), activations=None)),
        "onnxruntime-current",
        note="control: nearest rounding after the same training in float",
        scale="sweep",
    ),
    _row("int4-nearest", (Quantize(weights=WeightFormat(bits=4), activations=None),), "onnxruntime-current"),
    _row(
        "int4-mse",
        (Quantize(weights=WeightFormat(bits=4, scale="mse"), activations=None),),
        "onnxruntime-current",
        control="int4-nearest",
    ),
    _row(
        "trained-on",
        (float_training(),),
        "onnxruntime-current",
        note="control: baseline + the same training",
        scale="sweep",
    ),
)
