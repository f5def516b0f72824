from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.passes.specs.base import (
    CriterionChoice,
    Fraction,
    SparsityStructure,
    Spec,
    require_n_of_m,
)


class PruneWeights(Spec):
    """Set weights to zero at once, after training. Zeros make a file no smaller by themselves."""

    kind: Literal["prune_weights"] = "prune_weights"
    amount: Fraction = Field(description="Share of the weights to set to zero.")
    criterion: CriterionChoice = Field("magnitude_l1", description="How a weight is scored; low scores go first.")
    scope: Literal["layer", "global"] = Field(
        "layer", description="layer: the same share of every layer; global: one ranking over the network."
    )
    structure: SparsityStructure = Field(
        "weights", description="What becomes zero together: weights, kernels, filters, or N of every M weights stay."
    )
    solver: Literal["none", "layerwise"] = Field(
        "none",
        description="layerwise: choose zeros by the Hessian of each layer's output error and move the other weights to make up "
        "for them (OBS as in SparseGPT); the criterion is not used then.",
    )
    rounds: int = Field(
        1,
        ge=1,
        le=1000,
        description="Repeat scoring and zeroing along an exponential course (SynFlow wants about 100).",
    )
    n_samples: int = Field(256, ge=1, le=65536, description="layerwise: samples of the training split to observe.")

    @model_validator(mode="after")
    def _is_possible(self) -> "PruneWeights":
        require_n_of_m(self.structure, self.amount)
        is_grouped = self.structure in ("kernels", "filters")
        if self.solver == "layerwise" and (is_grouped or self.scope == "global" or self.rounds > 1):
            raise PydanticCustomError(
                "solver_unsupported",
                "The layerwise solver zeroes single weights or N:M, layer by layer, in one round: set structure weights or "
                "N:M, scope layer and rounds 1.",
            )
        return self
