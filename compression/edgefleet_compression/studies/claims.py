"""What a study claims, as numbers against thresholds; fixed before anything runs. Torch-free."""

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.passes.specs.base import Spec

MetricName = Literal[
    "accuracy", "retention", "retention_over_chance", "f1_retention", "size_ratio", "gzip_ratio", "macs_ratio"
]
"""Figures of a unit, all better when larger. retention: accuracy over the baseline's; retention_over_chance: the same with
what guessing gives taken off both; f1_retention: macro F1 over the baseline's; ratios: baseline over unit.
"""

Choice = Literal["only", "best", "worst"]


class Chosen(Spec):
    """Arms of which one is chosen on the validation split, so that the test split decides nothing but the figure."""

    arms: tuple[str, ...] = Field(min_length=1, max_length=200, description="Names of the arms.")
    choose: Choice = Field(
        "only", description="only: there is one arm; best, worst: by mean validation accuracy retained."
    )

    @model_validator(mode="after")
    def _one_or_choice(self) -> "Chosen":
        if (self.choose == "only") != (len(self.arms) == 1):
            raise PydanticCustomError(
                "choice_invalid", "One arm is chosen by only, of several the best or the worst is."
            )
        return self


class _Claim(Spec):
    name: str = Field(max_length=100, description="Name in the report.")
    supported_from: float = Field(description="The claim holds if the whole interval is at least this.")
    falsified_below: float = Field(description="The claim is given up if the whole interval lies below this.")

    @model_validator(mode="after")
    def _ordered(self) -> "_Claim":
        if self.falsified_below > self.supported_from:
            raise PydanticCustomError("thresholds_reversed", "falsified_below is at most supported_from.")
        return self


class LevelClaim(_Claim):
    """The mean of a figure of one arm over seeds."""

    kind: Literal["level"] = "level"
    arm: Chosen = Field(description="The arm.")
    metric: MetricName = Field(description="The figure.")

    @property
    def named_arms(self) -> tuple[str, ...]:
        """Arms that it needs."""
        return self.arm.arms


class DifferenceClaim(_Claim):
    """The mean difference of two arms, seed by seed; as a ratio, by their logarithms."""

    kind: Literal["difference"] = "difference"
    a: Chosen = Field(description="The arm that is claimed to be ahead.")
    b: Chosen = Field(description="The arm it is compared with.")
    metric: MetricName = Field(description="The figure.")
    scale: Literal["points", "ratio"] = Field(
        "points", description="points: 100 (a - b); ratio: geometric mean of a / b."
    )

    @property
    def named_arms(self) -> tuple[str, ...]:
        """Arms that it needs."""
        return (*self.a.arms, *self.b.arms)


class FitClaim(_Claim):
    """How much of the held-out points a fitted law explains: R squared against the mean of the fitted points."""

    kind: Literal["fit"] = "fit"
    law: Literal["power", "exponential"] = Field(description="y = a x^b or y = a e^(b x).")
    x: str = Field(description="Factor, or size_ratio, n_parameters, baseline_n_parameters.")
    y: Literal["loss", "retention", "reachable_ratio"] = Field(
        description="loss: 1 - retention, at least half a test sample; reachable_ratio: largest size ratio that keeps the floor, "
        "interpolated over the arms of one model."
    )
    arms: tuple[str, ...] = Field(min_length=3, description="Arms whose points are fitted or held out.")
    held_out: tuple[str, ...] = Field(
        min_length=1, description="Arms (for reachable_ratio: models) that are not fitted."
    )
    floor: float = Field(0.95, gt=0.0, le=1.0, description="reachable_ratio: retention to keep.")

    @property
    def named_arms(self) -> tuple[str, ...]:
        """Arms that it needs."""
        return self.arms


class SpeedClaim(_Claim):
    """Hardware-aware over hardware-agnostic: ratio of p50 on one board at a floor of retained accuracy.

    aware: of the arms that keep the floor on validation, the fastest on the board. agnostic: the one with the fewest MACs, of
    those the one with the smallest file. Simulated boards: the interval is widened by the simulation's own error.
    """

    kind: Literal["speed"] = "speed"
    board: str = Field(description="A board of the scale.")
    arms: tuple[str, ...] = Field(min_length=2, description="Candidates.")
    floor: float = Field(0.95, gt=0.0, le=1.0, description="Retention on validation to keep.")

    @property
    def named_arms(self) -> tuple[str, ...]:
        """Arms that it needs."""
        return self.arms


Claim = Annotated[LevelClaim | DifferenceClaim | FitClaim | SpeedClaim, Field(discriminator="kind")]


class Comparison(Spec):
    """One paired test over seeds; all of one family are corrected together."""

    family: str = Field(max_length=64, description="Tests corrected together.")
    a: str = Field(description="Arm.")
    b: str = Field(description="Arm it is compared with.")
    metric: MetricName = Field("accuracy", description="Figure.")
