from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.passes.specs.base import Fraction, Spec


class LowRank(Spec):
    """Replace layers by two thinner ones; layers that would not become smaller stay as they are."""

    kind: Literal["low_rank"] = "low_rank"
    energy: Fraction | None = Field(
        None, description="Share of each weight matrix's squared singular values to keep; the ranks follow."
    )
    parameters_ratio: Fraction | None = Field(
        None,
        description="Parameters of the network afterwards over before; one energy for all layers is sought that meets it.",
    )
    form: Literal["channel", "spatial", "smaller"] = Field(
        "smaller",
        description="k x k convolutions: channel = k x k then 1 x 1; spatial = k x 1 then 1 x k; smaller = whichever has "
        "fewer weights.",
    )
    layers: tuple[Literal["linear", "conv2d", "embedding"], ...] = Field(
        ("linear", "conv2d", "embedding"), min_length=1, description="Kinds of layers to factorise."
    )
    min_rank: int = Field(1, ge=1, le=4096, description="Never leave a layer with a smaller rank than this.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "LowRank":
        if (self.energy is None) == (self.parameters_ratio is None):
            raise PydanticCustomError(
                "rank_ambiguous", "low_rank takes either energy or parameters_ratio: give exactly one of the two."
            )
        return self
