"""Different bits for different layers, or for the channels of one."""

from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.passes.specs.base import CriterionChoice, Fraction, Spec

BitChoice = Literal[8, 4, 2]
CostTable = dict[str, dict[Literal["8", "4", "2"], float]]
"""Layer -> bits -> cost."""


class BitAllocation(Spec):
    """Bits of every layer's weights, chosen under a budget so that the network's answers change least."""

    sensitivity: Literal["output_kl", "hessian"] = Field(
        "output_kl",
        description="How the harm of rounding a layer is estimated. output_kl: change of the class probabilities on calibration "
        "samples; hessian: curvature of the labels' loss (Hutchinson) times squared rounding error.",
    )
    choices: tuple[BitChoice, ...] = Field(
        (8, 4, 2), min_length=2, max_length=3, description="Bits a layer may have. Most files store 2 bits as 4."
    )
    size_bytes: int | None = Field(None, ge=1, description="Most bytes of all weights with their scales, as stored.")
    narrowest_stored: Literal[4, 2] = Field(
        4, description="size_bytes: what 2 bits take in the file. 2: files of the target onnxruntime-1.24."
    )
    latency_ms: float | None = Field(None, gt=0.0, description="Largest sum of the table's times in ms.")
    energy_mj: float | None = Field(None, gt=0.0, description="Largest sum of the table's energies in mJ.")
    table: CostTable | None = Field(
        None, description="latency_ms, energy_mj: layer -> bits -> ms or mJ, for every layer and choice."
    )

    @property
    def budget(self) -> float:
        """The one budget that is given, in bytes, ms or mJ."""
        return float(self.size_bytes or self.latency_ms or self.energy_mj or 0.0)

    @model_validator(mode="after")
    def _one_budget(self) -> "BitAllocation":
        given = [value for value in (self.size_bytes, self.latency_ms, self.energy_mj) if value is not None]
        if len(given) != 1 or len(set(self.choices)) != len(self.choices):
            raise PydanticCustomError(
                "allocation_ambiguous",
                "An allocation has one budget and different choices: give exactly one of size_bytes, latency_ms and energy_mj.",
            )
        if (self.size_bytes is None) != (self.table is not None):
            raise PydanticCustomError(
                "allocation_incomplete",
                "latency_ms and energy_mj need a table of every layer's costs; size_bytes has none.",
            )
        return self


class ImportanceGroups(Spec):
    """Two groups of output channels in every layer: the more important at 8 bits, the others at 4."""

    share: Fraction = Field(0.25, description="Share of each layer's output channels at 8 bits, rounded up.")
    criterion: CriterionChoice = Field(
        "magnitude_l1", description="How a channel is scored: the sum over its weights; high scores get 8 bits."
    )
