from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.passes.specs.base import Spec
from edgefleet_compression.precision import Precision


class WeightFormat(Spec):
    """Format of the weights: signed and symmetric, zero is the integer 0."""

    bits: Literal[8, 4, 2] = Field(8, description="Bits per weight; 2 bits are -1, 0 and 1, and are stored as 4.")
    granularity: Literal["channel", "block"] = Field(
        "channel",
        description="channel: one scale per output channel. block: 4 bit weights alone, one per 32 weights of a channel, by "
        "the compiler.",
    )
    scale: Literal["peak", "mse", "learned"] = Field(
        "peak",
        description="peak: the largest weight is the largest integer; mse: the least squared rounding error; learned: "
        "trained with the weights (fake_quant only).",
    )

    @property
    def largest(self) -> int:
        """The largest integer: 127, 7 or 1."""
        return int(2 ** (self.bits - 1) - 1)


class ActivationFormat(Spec):
    """Format of the activations: asymmetric, one scale and zero point per tensor."""

    bits: Literal[8] = Field(8, description="Bits per activation.")
    signed: bool = Field(False, description="false: uint8 (onnxruntime on x86 and ARM); true: int8.")
    mode: Literal["static", "dynamic"] = Field(
        "static",
        description="static: ranges are found beforehand on calibration samples; dynamic: anew for every input, while "
        "running, which suits transformers.",
    )


class Calibration(Spec):
    """How the range of an activation is found from samples of the training split."""

    observer: Literal["minmax"] = Field("minmax", description="minmax: smallest and largest value seen.")
    n_samples: int = Field(256, ge=1, le=65536, description="Samples of the training split to observe.")


def format_precision(weights: WeightFormat, activations: ActivationFormat | None) -> Precision:
    """Return the precision that these formats mean; raises ``format_unsupported`` for a pair that no compiler writes."""
    if weights.granularity == "block" and (weights.bits != 4 or activations is not None):
        raise PydanticCustomError(
            "format_unsupported", "Blocks are for 4 bit weights with activations null: set granularity to channel."
        )
    if activations is None:
        return "int8-weights" if weights.bits == 8 else "int4-weights"
    if weights.bits < 8:
        raise PydanticCustomError(
            "format_unsupported",
            "Weights below 8 bits are computed in float (no runtime here multiplies them as integers): set activations to null.",
        )
    return "int8" if activations.mode == "static" else "int8-dynamic"


class QuantizationFormat(Spec):
    """What ``quantize`` and ``fake_quant`` share."""

    weights: WeightFormat = Field(default_factory=WeightFormat, description="Format of the weights.")
    calibration: Calibration = Field(
        default_factory=Calibration, description="How static activation ranges are found; unused by the other formats."
    )


class Quantize(QuantizationFormat):
    """Post-training quantization. Static activations: attach scales found on calibration samples, which deploy folds to
    integers, last. Dynamic ones and weights alone: the compiler carries it out with the runtime's own tool.
    """

    kind: Literal["quantize"] = "quantize"
    activations: ActivationFormat | None = Field(
        default_factory=ActivationFormat,
        description="Format of the activations; null: only the weights are stored as integers, computing stays float.",
    )

    @model_validator(mode="after")
    def _is_supported(self) -> "Quantize":
        format_precision(self.weights, self.activations)
        if self.weights.scale == "learned":
            raise PydanticCustomError(
                "format_unsupported", "A scale is learned while training: use fake_quant, or scale peak or mse."
            )
        return self

    @property
    def precision(self) -> Precision:
        """The precision it leaves."""
        return format_precision(self.weights, self.activations)

    @property
    def is_simulated(self) -> bool:
        """True if it leaves a network that rounds as the file will, so that fake_quant training can go on from it."""
        return self.precision == "int8" or (self.weights.bits < 8 and self.weights.granularity == "channel")
