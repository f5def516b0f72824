"""What a pass leaves behind about itself: cost, what changed, what it skipped and why. Torch-free."""

from pydantic import BaseModel, ConfigDict, Field

from edgefleet_compression.passes.specs import AnyPass


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cost(_Record):
    """What a pass used."""

    wall_s: float | None = Field(None, ge=0, description="Wall time in seconds; null in a saved candidate.")
    steps: int = Field(0, ge=0, description="Optimizer steps.")
    samples: int = Field(0, ge=0, description="Training or calibration samples seen, repeats included.")


class Stats(_Record):
    """Counts of one network."""

    n_parameters: int = Field(ge=0, description="Trainable numbers: weights, biases, BatchNorm scales and shifts.")
    macs: int | None = Field(
        None, ge=0, description="Multiply-accumulates of one sample in convolutions and matrix products; null: unknown."
    )
    sparsity: float = Field(ge=0, le=1, description="Share of zeros among the weights of convolutions and linears.")


class LayerChange(_Record):
    """Channels of one layer before and after a structural pass."""

    layer: str
    n_in: tuple[int, int] = Field(description="Input channels before, after.")
    n_out: tuple[int, int] = Field(description="Output channels before, after.")


class Skip(_Record):
    """A layer that a pass left alone, with the reason."""

    layer: str
    reason: str


class Epoch(_Record):
    """One line of a training's history."""

    step: int = Field(ge=0, description="Optimizer steps so far.")
    train_loss: float = Field(description="Mean over the steps since the line before, ingredients included.")
    validation_accuracy: float = Field(ge=0, le=1)
    validation_loss: float
    learning_rate: float = Field(ge=0, description="Of the last step.")
    sparsity: float = Field(ge=0, le=1, description="Share of zeros among the weights of convolutions and linears.")
    figures: dict[str, float] = Field(
        default_factory=dict, description="What the ingredients say of themselves, for example threshold."
    )


class StepRecord(_Record):
    """One pass as it was carried out."""

    spec: AnyPass
    seed: int
    cost: Cost
    before: Stats
    after: Stats
    changes: tuple[LayerChange, ...] = ()
    removed: tuple[str, ...] = Field((), description="Blocks and layers that the pass took out, first one first.")
    skipped: tuple[Skip, ...] = ()
    notes: tuple[str, ...] = Field((), description="Stable notes, for example calibration_random.")
    metrics: dict[str, float] = Field(default_factory=dict, description="Figures of the pass on the validation split.")
    curve: tuple[Epoch, ...] = Field((), description="Of a training: its epochs; empty in a saved candidate.")

    def without_wall_time(self) -> "StepRecord":
        """Return the record as it is saved: the same seed gives the same file, so wall time stays out; the curve is long."""
        return self.model_copy(update={"cost": self.cost.model_copy(update={"wall_s": None}), "curve": ()})
