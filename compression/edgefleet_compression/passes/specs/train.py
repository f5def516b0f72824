"""The one pass that trains, with its budget, optimizer and student."""

from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.passes.specs.base import Fraction, Spec, SpecT
from edgefleet_compression.passes.specs.ingredients import Ingredient


class Budget(Spec):
    """How long to train: exactly one of epochs and steps."""

    epochs: int | None = Field(None, ge=1, le=10_000, description="Passes over the training split.")
    steps: int | None = Field(None, ge=1, le=10_000_000, description="Optimizer steps.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "Budget":
        if (self.epochs is None) == (self.steps is None):
            raise PydanticCustomError(
                "budget_ambiguous", "A budget has either epochs or steps: give exactly one of the two."
            )
        return self


class Optimizer(Spec):
    """Optimizer and its settings."""

    name: Literal["sgd", "adam", "adamw"] = Field("sgd", description="sgd uses Nesterov momentum.")
    lr: float = Field(0.05, gt=0.0, le=10.0, description="Peak learning rate.")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="Momentum of sgd; unused by adam and adamw.")
    weight_decay: float = Field(5e-4, ge=0.0, le=1.0, description="Weight decay on weights; never on biases or scales.")


class LearningRateSchedule(Spec):
    """Course of the learning rate over the budget."""

    name: Literal["constant", "cosine", "step"] = Field("cosine", description="Course after the warm-up.")
    warmup_fraction: float = Field(
        0.05, ge=0.0, lt=1.0, description="Share of the steps in which the rate rises linearly."
    )
    final_ratio: float = Field(0.0, ge=0.0, le=1.0, description="cosine: last rate over peak rate.")
    step_at: tuple[Fraction, ...] = Field(
        (0.5, 0.75), max_length=16, description="step: shares of the budget at which the rate is multiplied by gamma."
    )
    gamma: float = Field(0.1, gt=0.0, le=1.0, description="step: factor at each step.")


class Student(Spec):
    """A network that replaces the candidate: a smaller one of the same family, or an explicit architecture."""

    width_ratio: float = Field(1.0, gt=0.0, le=1.0, description="Widths of the student over the architecture's.")
    depth_ratio: float = Field(1.0, gt=0.0, le=1.0, description="Blocks of the student over the architecture's.")
    architecture: str | None = Field(
        None, max_length=64, description="Another registered architecture; then give arguments."
    )
    arguments: dict[str, Any] | None = Field(None, description="Arguments of the explicit architecture.")

    @model_validator(mode="after")
    def _ratio_or_architecture(self) -> "Student":
        if (self.architecture is None) != (self.arguments is None):
            raise PydanticCustomError(
                "student_incomplete", "An explicit student needs both architecture and arguments; give both or neither."
            )
        if self.architecture is not None and (self.width_ratio, self.depth_ratio) != (1.0, 1.0):
            raise PydanticCustomError(
                "student_ambiguous", "A student is either scaled by ratios or an explicit architecture, not both."
            )
        if self.architecture is None and (self.width_ratio, self.depth_ratio) == (1.0, 1.0):
            raise PydanticCustomError(
                "student_not_smaller", "A student with both ratios 1 is the network itself: lower width or depth."
            )
        return self


class Train(Spec):
    """The one pass that trains; ingredients decide what happens meanwhile."""

    kind: Literal["train"] = "train"
    budget: Budget = Field(description="How long to train.")
    batch_size: int = Field(64, ge=1, le=65536, description="Samples per step.")
    optimizer: Optimizer = Field(default_factory=Optimizer, description="Optimizer of this pass.")
    lr_schedule: LearningRateSchedule = Field(
        default_factory=LearningRateSchedule, description="Course of the learning rate."
    )
    label_smoothing: float = Field(
        0.0, ge=0.0, lt=1.0, description="Share of probability spread evenly over all classes."
    )
    student: Student | None = Field(None, description="Train this new, smaller network instead of the candidate.")
    ingredients: tuple[Ingredient, ...] = Field(
        (), max_length=8, description="What happens while training: sparsify, fake_quant, distill; each at most once."
    )

    @model_validator(mode="after")
    def _ingredients_once(self) -> "Train":
        kinds = [ingredient.kind for ingredient in self.ingredients]
        if len(set(kinds)) != len(kinds):
            raise PydanticCustomError(
                "duplicate_ingredient",
                "An ingredient may appear once per train pass; {kinds} has one twice. Merge them or use two passes.",
                {"kinds": ", ".join(kinds)},
            )
        return self

    def ingredient(self, of_type: type[SpecT]) -> SpecT | None:
        """Return the ingredient of this type, or None."""
        return next((item for item in self.ingredients if isinstance(item, of_type)), None)
