"""When a schedule moves on."""

from typing import Annotated, Literal

from pydantic import Field

from edgefleet_compression.passes.specs.base import Spec


class ClockPace(Spec):
    """Evenly over the window."""

    kind: Literal["clock"] = "clock"


class PlateauPace(Spec):
    """One level further each time the validation accuracy stops rising."""

    kind: Literal["plateau"] = "plateau"
    patience: int = Field(3, ge=1, le=1000, description="Evaluations (one an epoch) without a better one.")
    min_delta: float = Field(0.001, ge=0.0, lt=1.0, description="Rise of the accuracy (a share) that counts as better.")
    n_levels: int = Field(5, ge=1, le=100, description="Levels from the first to the last value.")


class ConvergencePace(Spec):
    """As far as the training loss has converged."""

    kind: Literal["convergence"] = "convergence"
    loss_ratio: float = Field(0.3, gt=0.0, lt=1.0, description="Loss over its first value at which the end is reached.")
    smoothing: float = Field(0.5, ge=0.0, lt=1.0, description="Share of the past in the moving average of the loss.")


Pace = Annotated[ClockPace | PlateauPace | ConvergencePace, Field(discriminator="kind")]
