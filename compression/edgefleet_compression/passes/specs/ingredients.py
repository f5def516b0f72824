"""What may happen while a train pass trains."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.passes.specs.base import (
    CriterionChoice,
    Fraction,
    ScheduleName,
    SparsityStructure,
    Spec,
    require_n_of_m,
)
from edgefleet_compression.passes.specs.distill import Distill
from edgefleet_compression.passes.specs.paces import ClockPace, Pace
from edgefleet_compression.passes.specs.quantize import ActivationFormat, QuantizationFormat, format_precision


class Sparsify(Spec):
    """Set weights to zero while training. Zeros make a file no smaller by themselves: sizes are bytes of the file."""

    kind: Literal["sparsify"] = "sparsify"
    amount: Fraction = Field(description="Share of the weights that is zero at the end.")
    criterion: CriterionChoice = Field("magnitude_l1", description="How a weight is scored; low scores go first.")
    scope: Literal["layer", "global", "dynamic"] = Field(
        "global",
        description="layer: the same share of every layer; global: one ranking over the network; dynamic: less of the "
        "layers whose gradients and activations still move.",
    )
    structure: SparsityStructure = Field(
        "weights", description="What becomes zero together: weights, kernels, filters, or N of every M weights stay."
    )
    sensitivity: Literal["labels", "training"] = Field(
        "labels",
        description="Loss that a gradient criterion looks at: the labels', or the one trained with (self-distillation).",
    )
    schedule: ScheduleName = Field("cubic", description="Course of the sparsity from start to end.")
    pace: Pace = Field(default_factory=ClockPace, description="When the sparsity moves on: by clock, plateaus or loss.")
    start_fraction: float = Field(0.0, ge=0.0, lt=1.0, description="Share of the budget before the first zeros.")
    end_fraction: float = Field(0.7, gt=0.0, le=1.0, description="Share of the budget after which sparsity is final.")
    every_steps: int = Field(5, ge=1, le=100_000, description="Steps between two updates of the masks.")

    @model_validator(mode="after")
    def _start_before_end(self) -> "Sparsify":
        if self.start_fraction >= self.end_fraction:
            raise PydanticCustomError("schedule_empty", "start_fraction must be below end_fraction.")
        require_n_of_m(self.structure, self.amount)
        return self


class FakeQuant(QuantizationFormat):
    """Quantization-aware training: after the start, BatchNorm is folded and training sees quantized values."""

    kind: Literal["fake_quant"] = "fake_quant"
    activations: ActivationFormat | None = Field(
        default_factory=ActivationFormat, description="Format of the activations; null: only the weights are rounded."
    )
    start_fraction: float = Field(
        0.5, ge=0.0, lt=1.0, description="Share of the budget trained in float with live BatchNorm before the folding."
    )
    lr_ratio: float = Field(
        0.1,
        gt=0.0,
        le=1.0,
        description="Learning rate after the folding over the schedule's: without BatchNorm the float rate diverges.",
    )

    @model_validator(mode="after")
    def _is_simulated(self) -> "FakeQuant":
        if self.calibration.source != "train":
            raise PydanticCustomError(
                "data_free_mixed",
                "fake_quant calibrates on what the train pass trains on: leave source at train, and give the train pass a synthesis.",
            )
        is_dynamic = format_precision(self.weights, self.activations) == "int8-dynamic"
        if is_dynamic or self.weights.granularity == "block":
            raise PydanticCustomError(
                "fake_quant_not_static",
                "fake_quant simulates weights with a scale per channel and static activations or none; for other formats use "
                "a quantize pass.",
            )
        return self


Ingredient = Annotated[Sparsify | FakeQuant | Distill, Field(discriminator="kind")]
