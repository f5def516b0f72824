"""VGG with BatchNorm: a small student in integers against the float network; and the same row counted the wrong way."""

from dataclasses import dataclass
from typing import Final

from tests.benchmarks.compression_rows.row import Goal, Row, Scale

from edgefleet_compression.passes.specs import (
    Augmentation,
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


@dataclass(frozen=True)
class Scaled:
    """How long baseline and student are trained, on which data variant."""

    data: str
    baseline_epochs: int
    student_epochs: int
    width_ratio: float
    augmentation: Augmentation
    note: str


ON_CPU: Final = Scaled(
    "cifar10-20k",
    baseline_epochs=4,
    student_epochs=8,
    width_ratio=0.3,
    augmentation="none",
    note="at CPU scale: 20,000 images, each moved once; 4 epochs of the baseline where a hundred are usual, so that its "
    "accuracy is far below what VGG-11 can reach and is easier to keep up with",
)
AS_PUBLISHED: Final = Scaled(
    "cifar10-2k", baseline_epochs=200, student_epochs=200, width_ratio=0.25, augmentation="crop_flip", note=""
)


def baseline_training(scaled: Scaled) -> Recipe:
    """Return how the float network is trained."""
    return Recipe(name=f"vgg-{scaled.baseline_epochs}-epochs", passes=(_training(scaled, scaled.baseline_epochs),))


def _training(scaled: Scaled, epochs: int, student: Student | None = None) -> Train:
    return Train(
        budget=Budget(epochs=epochs),
        batch_size=128,
        augmentation=scaled.augmentation,
        optimizer=Optimizer(lr=0.05),
        lr_schedule=LearningRateSchedule(warmup_fraction=0.1),
        student=student,
        ingredients=(Distill(teacher="fixed"),) if student else (),
    )


def _rows(model: str, scale: Scale, scaled: Scaled) -> tuple[Row, ...]:
    taught = _training(scaled, scaled.student_epochs, Student(width_ratio=scaled.width_ratio))
    alone = taught.model_copy(update={"ingredients": ()})
    arms = (
        ("student-int8", (taught, Quantize()), GOAL, "student-int8-alone", scaled.note),
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
            table=f"{model} on one CPU thread",
            scale=scale,
            goal=goal,
            control=control and f"{model}-{control}",
            note=note,
        )
        for name, passes, goal, control, note in arms
    )


ROWS: Final = (*_rows("vgg11-bn", "full", ON_CPU), *_rows("vgg19-bn", "gpu", AS_PUBLISHED))
