from typing import Annotated, Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.passes.specs.base import CriterionChoice, Fraction, Spec

LayerAmount = Annotated[float, Field(ge=0.0, lt=1.0)]
PrunableStructure = Literal["channels", "neurons", "heads", "feed_forward"]

DEFAULT_ROUND_TO: Final = 8
"""Where no target says otherwise: one AVX2 register of float32 in onnxruntime and XNNPACK, TensorRT's HWC8 of float16."""


class StructuredPrune(Spec):
    """Remove whole channels, neurons or attention heads, with everything that depends on them; layers really become smaller."""

    kind: Literal["structured_prune"] = "structured_prune"
    amount: Fraction = Field(description="Share of the prunable channels to remove, between 0 and 1 exclusive.")
    criterion: CriterionChoice = Field("magnitude_l2", description="How a weight is scored; low scores go first.")
    structures: tuple[PrunableStructure, ...] = Field(
        ("channels", "neurons", "heads", "feed_forward"),
        min_length=1,
        description="What may go: channels of convolutions, neurons of linear layers, attention heads and the width of feed-forward "
        "parts of transformer encoders.",
    )
    scope: Literal["layer", "global"] = Field(
        "layer",
        description="layer: every group of coupled layers loses the same share; global: one ranking over the network.",
    )
    amounts: dict[str, LayerAmount] = Field(
        default_factory=dict,
        max_length=1024,
        description="scope layer: another share for the groups of these layers, 0 to leave them whole; of several layers of one "
        "group the mildest counts.",
    )
    round_to: int | None = Field(
        None,
        ge=1,
        le=128,
        description="Keep a multiple of this many channels where the layer has that many; narrower layers a multiple of its half, "
        "quarter and so on, down to 8. null: what the job's target computes fastest with, 8 without a target.",
    )
    min_channels: int = Field(4, ge=1, le=1024, description="Never leave a layer with fewer channels than this.")

    @model_validator(mode="after")
    def _amounts_are_of_layers(self) -> "StructuredPrune":
        if self.amounts and self.scope != "layer":
            raise PydanticCustomError(
                "amounts_not_global", "amounts are shares of layers: set scope to layer, or leave them out."
            )
        return self

    @property
    def multiple(self) -> int:
        """The multiple that is kept to."""
        return DEFAULT_ROUND_TO if self.round_to is None else self.round_to
