"""VGG with BatchNorm: a small student in integers against the float network; and the same row counted the wrong way."""

from typing import Final

from tests.benchmarks.compression_rows.row import Goal, Row, Scale

from edgefleet_compression.passes.specs import (
    Budget,
    Distill,
    LearningRateSchedule,
    Optimizer,
    PruneWeights,
    Quantize,
    Student,
    Train,
)
from edgefleet_compression.recipe import Recipe

GOAL: Final = Goal(retention=0.97, size_ratio=40.0, speedup=10.0)
WRONG_WAY: Final = (
    "counted the wrong way elsewhere: 97.5 % zeros called 40x smaller. The file has the bytes it has, and no runtime here is "
    "faster for them"
)


EPOCHS_ON_CPU: Final = 5
"""Of VGG-11's baseline: half an hour of one core; a hundred and more are usual."""


def baseline_training(epochs: int) -> Recipe:
    """Return how the float network is trained."""
    return Recipe(name=f"vgg-{epochs}-epochs", passes=(_training(epochs, lr=0.05),))


def _training(epochs: int, *, lr: float, student: Student | None = None) -> Train:
    return Train(
        budget=Budget(epochs=epochs),
        batch_size=128,
        augmentation="crop_flip",
        optimizer=Optimizer(lr=lr),
        lr_schedule=LearningRateSchedule(warmup_fraction=0.1),
        student=student,
        ingredients=(Distill(teacher="fixed"),) if student else (),
    )


def _rows(model: str, scale: Scale, *, width_ratio: float, epochs: int) -> tuple[Row, ...]:
    table = f"{model} on one CPU thread"
    student = Student(width_ratio=width_ratio)
    taught = _training(epochs, lr=0.05, student=student)
    alone = taught.model_copy(update={"ingredients": ()})
    arms = (
        ("student-int8", (taught, Quantize()), GOAL, "student-int8-alone", ""),
        ("student-int8-alone", (alone, Quantize()), None, None, "control: no teacher"),
        ("zeros", (PruneWeights(amount=0.975, scope="global"),), None, None, WRONG_WAY),
        ("int8", (Quantize(),), None, None, "quantization alone"),
    )
    return tuple(
        Row(
            name=f"{model}-{name}",
            model=model,
            recipe=Recipe(name=f"{model}-{name}", passes=passes),
            target="litert",
            table=table,
            scale=scale,
            goal=goal,
            control=control and f"{model}-{control}",
            note=note,
        )
        for name, passes, goal, control, note in arms
    )


ROWS: Final = (
    *_rows("vgg11-bn", "full", width_ratio=0.3, epochs=6),
    *_rows("vgg19-bn", "gpu", width_ratio=0.25, epochs=200),
)
