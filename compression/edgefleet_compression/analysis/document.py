"""The document of an analysis. MAC: one multiply and one add. FLOP counts, two per MAC, appear nowhere."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Effect(_Part):
    """How the network answers, on validation samples."""

    loss: float = Field(description="Mean cross-entropy in nats.")
    accuracy: float = Field(description="Top-1, 0 to 1.")


class LayerAnalysis(_Part):
    """One layer with weights."""

    name: str = Field(description="As recipes and records name it.")
    kind: str = Field(description="conv2d, linear, embedding; of an ONNX file its operator.")
    n_parameters: int = Field(description="Weights and biases.")
    macs: int | None = Field(
        description="Multiply-accumulates for one sample, from the shapes of weight and output; null: shapes not known."
    )
    macs_by_counter: int | None = Field(
        description="The same by torch's counter of operators, halved; null without a torch form."
    )
    activation_bytes: int | None = Field(description="float32 output for one sample; null: shape not known.")
    energy_rank_ratio: float = Field(
        description="Singular values that hold 90 % of the energy of the weight matrix, over all: low is redundant."
    )
    redundant_share: float = Field(
        description="Share of the weights that two factors of that rank would save; 0 where they would not be smaller."
    )
    pruned: dict[str, Effect] = Field(
        default_factory=dict, description="Share of this layer's smallest weights set to zero -> the network's answers."
    )
    rounded: dict[str, Effect] = Field(
        default_factory=dict, description="Bits of this layer's weights, a scale per channel -> the network's answers."
    )


class ExpectedSize(_Part):
    """What a recipe will leave, worked out without training."""

    recipe: str = Field(description="Name of the recipe.")
    size_bytes: int | None = Field(
        description="Bytes of the parameters as stored, BatchNorm folded; the graph's own bytes come on top. null: see reason."
    )
    n_parameters: int | None = Field(description="Parameters of the network that the recipe leaves.")
    macs: int | None = Field(description="Its multiply-accumulates; zeros count like other weights.")
    reason: str | None = Field(default=None, description="Code of why size_bytes is null.")
    message: str | None = Field(default=None, description="The same for a person.")


class Analysis(_Part):
    """A network before compression."""

    form: Literal["torch", "onnx"] = Field(
        description="torch: a candidate, or the torch form of an ONNX file; onnx: the file has no such form."
    )
    n_parameters: int = Field(description="Of the whole network, normalisation included.")
    macs: int | None = Field(
        description="Sum over the layers, from shapes alone; products of two activations (attention) are none of theirs."
    )
    macs_by_counter: int | None = Field(
        description="Of the whole network by torch's counter of operators, halved: an independent count."
    )
    peak_activation_bytes: int | None = Field(
        description="Largest sum of activations alive at once, one sample, operator by operator; fused operators need less."
    )
    redundant_share: float = Field(description="Of all weights: see the layers' redundant_share.")
    baseline: Effect | None = Field(description="The network as it is, on the same validation samples.")
    n_samples: int = Field(description="Validation samples behind baseline, pruned and rounded; 0 without data.")
    layers: tuple[LayerAnalysis, ...] = Field(description="In the order of the network.")
    expected: tuple[ExpectedSize, ...] = Field(description="One for each recipe asked for.")
    unknown: dict[str, str] = Field(
        default_factory=dict, description="Field that is null or empty -> code of the reason."
    )
    obstacles: tuple[str, ...] = Field((), description="Of an ONNX file without a torch form: what stands in the way.")
    notes: tuple[str, ...] = Field((), description="Such as converted_from_onnx.")
