from typing import Literal

from pydantic import Field

from edgefleet_compression.passes.specs.base import CriterionChoice, Fraction, Spec


class StructuredPrune(Spec):
    """Remove whole channels, with everything that depends on them; the layers really become smaller."""

    kind: Literal["structured_prune"] = "structured_prune"
    amount: Fraction = Field(description="Share of the prunable channels to remove, between 0 and 1 exclusive.")
    criterion: CriterionChoice = Field("magnitude_l2", description="How a weight is scored; low scores go first.")
    scope: Literal["layer", "global"] = Field(
        "layer",
        description="layer: every group of coupled layers loses the same share; global: one ranking over the network.",
    )
    round_to: int = Field(
        8, ge=1, le=128, description="Keep a multiple of this many channels where the layer has that many."
    )
    min_channels: int = Field(4, ge=1, le=1024, description="Never leave a layer with fewer channels than this.")
