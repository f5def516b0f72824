from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.passes.specs.base import Fraction, Spec

BlockCriterionName = Literal["influence", "change", "loss", "random"]


class RemoveBlocks(Spec):
    """Take whole residual blocks, encoder layers or plain layers out of the network: it becomes shallower, so it is faster
    by more than its MACs say.
    """

    kind: Literal["remove_blocks"] = "remove_blocks"
    n_blocks: int | None = Field(None, ge=1, le=1024, description="How many to remove.")
    share: Fraction | None = Field(
        None, description="Share of the removable ones to remove, rounded, at least one; instead of n_blocks."
    )
    criterion: BlockCriterionName = Field(
        "influence",
        description="What a block is worth; the least goes first. influence: one minus the cosine between what enters and what "
        "leaves it (block influence of ShortGPT, Men et al. 2024, arXiv:2403.03853); change: their distance over the norm of "
        "what enters; loss: the loss without it; random: the control.",
    )
    rescore: bool = Field(
        True, description="Score the others again after each removal; false: all go by the scores of the whole network."
    )
    shortcuts: Literal["identity", "any"] = Field(
        "identity",
        description="identity: blocks whose input could be their output; any: of blocks that change the shape, too, leave only "
        "the projection on the shortcut.",
    )
    plain_layers: bool = Field(
        False,
        description="Also layers without a shortcut (VGG, MLP) whose output has the shape of their input; they do more than "
        "a residual block does.",
    )
    n_samples: int = Field(256, ge=1, le=65536, description="Samples of the training split to score on.")

    @model_validator(mode="after")
    def _one_of_both(self) -> "RemoveBlocks":
        if (self.n_blocks is None) == (self.share is None):
            raise PydanticCustomError(
                "amount_ambiguous", "remove_blocks takes either n_blocks or share: give exactly one of the two."
            )
        return self
