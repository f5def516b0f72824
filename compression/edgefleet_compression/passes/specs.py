"""Specifications of the passes: frozen values that serialise to JSON, become the REST schema and feed the search space.

Torch-free. A field's description, range and default are the single place where they are written.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

CriterionName = Literal["magnitude_l1", "magnitude_l2", "random"]
ScheduleName = Literal["one_shot", "cubic"]
TeacherName = Literal["fixed"]

SpecT = TypeVar("SpecT", bound="Spec")

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]


class Spec(BaseModel):
    """A frozen specification; unknown fields are refused, so that a misspelt one is an error and not a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StructuredPrune(Spec):
    """Remove whole channels, with everything that depends on them; the layers really become smaller."""

    kind: Literal["structured_prune"] = "structured_prune"
    amount: Fraction = Field(description="Share of the prunable channels to remove, between 0 and 1 exclusive.")
    criterion: CriterionName = Field("magnitude_l2", description="How a weight is scored; low scores go first.")
    scope: Literal["layer", "global"] = Field(
        "layer",
        description="layer: every group of coupled layers loses the same share; global: one ranking over the network.",
    )
    round_to: int = Field(
        8, ge=1, le=128, description="Keep a multiple of this many channels where the layer has that many."
    )
    min_channels: int = Field(4, ge=1, le=1024, description="Never leave a layer with fewer channels than this.")


class WeightFormat(Spec):
    """Format of the weights: signed, symmetric, one scale per output channel."""

    bits: Literal[8] = Field(8, description="Bits per weight.")
    symmetric: Literal[True] = Field(True, description="Zero is represented by the integer 0.")
    per_channel: Literal[True] = Field(True, description="One scale per output channel.")


class ActivationFormat(Spec):
    """Format of the activations: asymmetric, one scale and zero point per tensor."""

    bits: Literal[8] = Field(8, description="Bits per activation.")
    signed: bool = Field(False, description="false: uint8 (onnxruntime on x86 and ARM); true: int8.")


class Calibration(Spec):
    """How the range of an activation is found from samples of the training split."""

    observer: Literal["minmax"] = Field("minmax", description="minmax: smallest and largest value seen.")
    n_samples: int = Field(256, ge=1, le=65536, description="Samples of the training split to observe.")


class QuantizationFormat(Spec):
    """The formats and the calibration that ``quantize`` and ``fake_quant`` share."""

    weights: WeightFormat = Field(default_factory=WeightFormat, description="Format of the weights.")
    activations: ActivationFormat = Field(default_factory=ActivationFormat, description="Format of the activations.")
    calibration: Calibration = Field(default_factory=Calibration, description="How activation ranges are found.")


class Quantize(QuantizationFormat):
    """Post-training quantization: attach scales found on calibration samples; deploy folds them to integers, last."""

    kind: Literal["quantize"] = "quantize"


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


class Sparsify(Spec):
    """Set weights to zero while training. Zeros make a file no smaller by themselves: sizes are bytes of the file."""

    kind: Literal["sparsify"] = "sparsify"
    amount: Fraction = Field(description="Share of the weights that is zero at the end.")
    criterion: CriterionName = Field("magnitude_l1", description="How a weight is scored; low scores go first.")
    scope: Literal["layer", "global"] = Field(
        "global", description="One ranking per layer, or one over the whole network."
    )
    structure: Literal["weights"] = Field("weights", description="What becomes zero: single weights.")
    schedule: ScheduleName = Field("cubic", description="Course of the sparsity from start to end.")
    start_fraction: float = Field(0.0, ge=0.0, lt=1.0, description="Share of the budget before the first zeros.")
    end_fraction: float = Field(0.7, gt=0.0, le=1.0, description="Share of the budget after which sparsity is final.")
    every_steps: int = Field(5, ge=1, le=100_000, description="Steps between two updates of the masks.")

    @model_validator(mode="after")
    def _start_before_end(self) -> "Sparsify":
        if self.start_fraction >= self.end_fraction:
            raise PydanticCustomError("schedule_empty", "start_fraction must be below end_fraction.")
        return self


class FakeQuant(QuantizationFormat):
    """Quantization-aware training: after the start, BatchNorm is folded and training sees quantized values."""

    kind: Literal["fake_quant"] = "fake_quant"
    start_fraction: float = Field(
        0.5, ge=0.0, lt=1.0, description="Share of the budget trained in float with live BatchNorm before the folding."
    )
    lr_ratio: float = Field(
        0.1,
        gt=0.0,
        le=1.0,
        description="Learning rate after the folding over the schedule's: without BatchNorm the float rate diverges.",
    )


class Distill(Spec):
    """Knowledge distillation on logits (Hinton et al. 2015, arXiv:1503.02531, section 2)."""

    kind: Literal["distill"] = "distill"
    teacher: TeacherName | None = Field(
        None, description="fixed: the model the recipe was given. Required: there is no distillation without a teacher."
    )
    temperature: float = Field(4.0, gt=0.0, le=100.0, description="Softening of both distributions.")
    alpha: float = Field(
        0.7, gt=0.0, le=1.0, description="Weight of the distillation loss; the labels' loss has the rest."
    )

    @model_validator(mode="after")
    def _has_teacher(self) -> "Distill":
        if self.teacher is None:
            raise PydanticCustomError(
                "distill_without_teacher", 'distill needs a teacher: set "teacher": "fixed" (the model given).'
            )
        return self


Ingredient = Annotated[Sparsify | FakeQuant | Distill, Field(discriminator="kind")]


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


AnyPass = Annotated[StructuredPrune | Quantize | Train, Field(discriminator="kind")]
