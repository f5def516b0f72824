"""The one pass that trains, with its budget, optimizer and student."""

from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.passes.specs.base import Spec, SpecT
from edgefleet_compression.passes.specs.distill import Distill
from edgefleet_compression.passes.specs.ingredients import Ingredient
from edgefleet_compression.passes.specs.synthesis import Synthesis
from edgefleet_compression.passes.specs.training import (
    Augmentation,
    Budget,
    LearningRateSchedule,
    LossWeights,
    Optimizer,
)


class Student(Spec):
    """A network that replaces the candidate: a smaller one of the same family, or an explicit architecture."""

    width_ratio: float = Field(1.0, gt=0.0, le=1.0, description="Widths of the student over the architecture's.")
    depth_ratio: float = Field(1.0, gt=0.0, le=1.0, description="Blocks of the student over the architecture's.")
    architecture: str | None = Field(
        None,
        max_length=64,
        description="Another architecture, or a network by name such as resnet-20; then give arguments, {} for none.",
    )
    arguments: dict[str, Any] | None = Field(
        None, description="Arguments of the explicit architecture; inputs and classes are those of the model."
    )

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
    accumulate: int = Field(
        1, ge=1, le=1024, description="Parts a batch is computed in, one after the other, to save memory."
    )
    augmentation: Augmentation = Field(
        "none", description="crop_flip: random shifts by an eighth of the side and mirror images, of image data only."
    )
    optimizer: Optimizer = Field(default_factory=Optimizer, description="Optimizer of this pass.")
    lr_schedule: LearningRateSchedule = Field(
        default_factory=LearningRateSchedule, description="Course of the learning rate."
    )
    label_smoothing: float = Field(
        0.0, ge=0.0, lt=1.0, description="Share of probability spread evenly over all classes."
    )
    loss_weights: LossWeights | None = Field(
        None,
        description="Joint training: the ingredients' losses with these weights; null: distill mixes by its alpha.",
    )
    gradient_scaling: Literal["uniform", "adaptive"] = Field(
        "uniform",
        description="With loss_weights. uniform: gradients as they are; adaptive: each loss's gradient is scaled to the mean "
        "norm of all (GradNorm).",
    )
    synthesis: Synthesis | None = Field(
        None,
        description="Train on images made from the recipe's model alone, labelled by its own answers; no data set is looked at.",
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

    @model_validator(mode="after")
    def _scaling_has_weights(self) -> "Train":
        if self.gradient_scaling == "adaptive" and self.loss_weights is None:
            raise PydanticCustomError(
                "scaling_without_weights", "gradient_scaling adaptive balances weighted losses: set loss_weights."
            )
        if self.loss_weights is not None and not self.loss_weights.labels and not self.ingredient(Distill):
            raise PydanticCustomError("nothing_to_learn", "Without labels and distill there is no loss: set a weight.")
        return self

    def ingredient(self, of_type: type[SpecT]) -> SpecT | None:
        """Return the ingredient of this type, or None."""
        return next((item for item in self.ingredients if isinstance(item, of_type)), None)
