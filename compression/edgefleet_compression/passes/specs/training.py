"""How long to train, with which optimizer and learning rate."""

from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.passes.specs.base import Fraction, Spec

Augmentation = Literal["none", "crop_flip"]


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


class LossWeights(Spec):
    """Weights of the losses of joint training; a weight of 0 leaves the loss out."""

    labels: float = Field(1.0, ge=0.0, le=1e6, description="Cross-entropy of the labels.")
    distill: float = Field(
        1.0, ge=0.0, le=1e6, description="The teacher's loss; alpha and feature_weight are not used."
    )
    sparsify: float = Field(0.0, ge=0.0, le=1e6, description="Mean absolute weight: the pull towards zero.")
    fake_quant: float = Field(
        0.0,
        ge=0.0,
        le=1e6,
        description="Mean squared distance of weights from their grid, in steps, once it is attached.",
    )


class Optimizer(Spec):
    """Optimizer and its settings."""

    name: Literal["sgd", "adam", "adamw"] = Field("sgd", description="sgd uses Nesterov momentum.")
    lr: float = Field(0.05, gt=0.0, le=10.0, description="Peak learning rate.")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="Momentum of sgd; unused by adam and adamw.")
    weight_decay: float = Field(5e-4, ge=0.0, le=1.0, description="Weight decay on weights; never on biases or scales.")


class LearningRateSchedule(Spec):
    """Course of the learning rate over the budget."""

    name: Literal["constant", "cosine", "step", "restarts"] = Field(
        "cosine", description="Course after the warm-up; restarts: cosine, begun anew (SGDR)."
    )
    warmup_fraction: float = Field(
        0.05, ge=0.0, lt=1.0, description="Share of the steps in which the rate rises linearly."
    )
    final_ratio: float = Field(0.0, ge=0.0, le=1.0, description="cosine: last rate over peak rate.")
    step_at: tuple[Fraction, ...] = Field(
        (0.5, 0.75), max_length=16, description="step: shares of the budget at which the rate is multiplied by gamma."
    )
    n_cycles: int = Field(2, ge=1, le=100, description="restarts: cycles of equal length.")
    gamma: float = Field(0.1, gt=0.0, le=1.0, description="step: factor at each step.")
