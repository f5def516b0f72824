from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edgefleet_compression.passes.specs.allocation import BitAllocation, ImportanceGroups
from edgefleet_compression.passes.specs.base import Spec
from edgefleet_compression.precision import Precision

ObserverName = Literal["minmax", "percentile", "entropy", "mse"]


class WeightFormat(Spec):
    """Format of the weights: signed and symmetric, zero is the integer 0."""

    bits: Literal[8, 4, 2, 1] = Field(
        8,
        description="Bits per weight. 2 bits are -1, 0 and 1; 1 bit is a sign times the mean magnitude; files store both as "
        "2-bit integers for the target onnxruntime-1.24, as 4-bit ones elsewhere.",
    )
    granularity: Literal["channel", "tensor", "block"] = Field(
        "channel",
        description="channel: one scale per output channel. tensor: one per layer. block: 4 bit weights alone, one per 32 "
        "weights of a channel, by the compiler.",
    )
    scale: Literal["peak", "mse", "learned"] = Field(
        "peak",
        description="peak: the largest weight is the largest integer; mse: the least squared rounding error; learned: "
        "trained with the weights (fake_quant only). 1 bit has the mean magnitude by any rule but learned.",
    )

    @property
    def largest(self) -> int:
        """The largest integer: 127, 7, 1 or 1."""
        return max(1, int(2 ** (self.bits - 1) - 1))

    @property
    def is_plain(self) -> bool:
        """True for what any runtime's own tool makes of float weights: 8 bits, one peak scale per channel."""
        return self == WeightFormat()


class ActivationFormat(Spec):
    """Format of the activations: one scale and zero point per tensor."""

    bits: Literal[8, 4] = Field(
        8,
        description="Bits per activation. 4: the file rounds to 16 values and computes in float, on onnxruntime-current "
        "alone: for comparisons, nothing gets faster.",
    )
    signed: bool = Field(False, description="false: uint8 (onnxruntime on x86 and ARM); true: int8.")
    symmetric: bool = Field(
        False,
        description="true: zero is the middle integer, so a range without negative values uses half the integers.",
    )
    mode: Literal["static", "dynamic"] = Field(
        "static",
        description="static: ranges are found beforehand on calibration samples; dynamic: anew for every input, while "
        "running, which suits transformers.",
    )
    scale: Literal["observed", "learned"] = Field(
        "observed",
        description="observed: from the values seen; learned: trained with the weights, from the calibrated one (fake_quant "
        "only).",
    )


class Calibration(Spec):
    """How the range of an activation is found."""

    observer: ObserverName = Field(
        "minmax",
        description="minmax: smallest and largest value seen; percentile: without the rarest at both ends; entropy: least "
        "loss of information (KL); mse: least squared rounding error.",
    )
    percentile: float = Field(
        99.99, gt=50.0, le=100.0, description="percentile: share of the values, in percent, below the upper end."
    )
    source: Literal["train", "random", "batchnorm", "generator"] = Field(
        "train",
        description="train: samples of the training split; random: noise; batchnorm, generator: images made from the network's "
        "BatchNorm statistics. All but train never look at a data set.",
    )
    synthesis_steps: int = Field(200, ge=1, le=100_000, description="batchnorm, generator: steps of making images.")
    n_samples: int = Field(
        256, ge=2, le=65536, description="Samples to observe, of the training split where there is one."
    )


def format_precision(weights: WeightFormat, activations: ActivationFormat | None) -> Precision:
    """Return the precision that these formats mean; raises ``format_unsupported`` for a pair that no compiler writes."""
    if weights.granularity == "block" and (weights.bits != 4 or activations is not None):
        raise _unsupported("Blocks are for 4 bit weights with activations null: set granularity to channel.")
    if activations is None:
        return "int8-weights" if weights.bits == 8 else "int4-weights"
    if activations.mode == "dynamic":
        _refuse_dynamic(weights, activations)
        return "int8-dynamic"
    if activations.bits < 8:
        return "int4"
    if weights.bits < 8:
        raise _unsupported(
            "Weights below 8 bits are computed in float (no runtime here multiplies them as integers): set activations to null."
        )
    return "int8"


def _refuse_dynamic(weights: WeightFormat, activations: ActivationFormat) -> None:
    if weights.bits < 8:
        raise _unsupported(
            "Weights below 8 bits are computed in float (no runtime here multiplies them as integers): set activations to null."
        )
    if not weights.is_plain or activations != ActivationFormat(mode="dynamic", signed=activations.signed):
        raise _unsupported(
            "Dynamic activations are the runtime's own tool's: 8 bits, asymmetric, weights with a peak scale per channel. Leave "
            "the other fields at their defaults."
        )


def _unsupported(message: str) -> PydanticCustomError:
    return PydanticCustomError("format_unsupported", message)


def rounds_itself(weights: WeightFormat, activations: ActivationFormat | None) -> bool:
    """True if the candidate's network rounds as the file will; otherwise it stays float and the compiler's tool rounds."""
    precision = format_precision(weights, activations)
    if precision in ("int8", "int4"):
        return True
    return activations is None and weights.granularity != "block" and not weights.is_plain


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

    rounding: Literal["nearest", "adaround"] = Field(
        "nearest",
        description="adaround: whether a weight is rounded up or down is learned, layer by layer, from calibration inputs.",
    )
    rounding_steps: int = Field(500, ge=1, le=100_000, description="adaround: optimizer steps of each layer.")
    equalize: bool = Field(
        False, description="Scale the channels between two layers so that both use their integers alike, first."
    )
    bias_correction: bool = Field(
        False,
        description="Correct every bias by the mean error that rounding gives its channel on calibration samples.",
    )
    allocation: BitAllocation | None = Field(None, description="Bits per layer under a budget; with weights.bits 4.")
    hybrid: ImportanceGroups | None = Field(
        None, description="8 bits for important output channels, 4 for the others; with weights.bits 4."
    )

    @model_validator(mode="after")
    def _is_supported(self) -> "Quantize":
        precision = format_precision(self.weights, self.activations)
        is_learned = self.activations is not None and self.activations.scale == "learned"
        if self.weights.scale == "learned" or is_learned:
            raise _unsupported("A scale is learned while training: use fake_quant, or another scale.")
        mixes = self.allocation is not None or self.hybrid is not None
        is_own_tool = precision == "int8-dynamic" or self.weights.granularity == "block"
        if is_own_tool and (mixes or self.is_refined):
            raise _unsupported(
                "Dynamic activations and blocks are rounded by the compiler's own tool: rounding, equalize, bias_correction, "
                "allocation and hybrid need static activations or none, and granularity channel or tensor."
            )
        if mixes and (self.weights.bits != 4 or (self.hybrid is not None and self.weights.granularity != "channel")):
            raise _unsupported(
                "allocation and hybrid mix 4 with other bits: set weights.bits to 4, granularity to channel."
            )
        if self.allocation is not None and self.hybrid is not None:
            raise PydanticCustomError(
                "bits_ambiguous",
                "Bits differ either by layer (allocation) or by channel (hybrid): give one of the two.",
            )
        return self

    @property
    def precision(self) -> Precision:
        """The precision it leaves."""
        return format_precision(self.weights, self.activations)

    @property
    def is_refined(self) -> bool:
        """True if the integers are more than the nearest ones of the given weights."""
        return self.rounding != "nearest" or self.equalize or self.bias_correction

    @property
    def is_simulated(self) -> bool:
        """True if it leaves a network that rounds as the file will, so that fake_quant training can go on from it."""
        return self.is_refined or rounds_itself(self.weights, self.activations)

    @property
    def uses_samples(self) -> bool:
        """True if it looks at calibration samples."""
        needs_inputs = self.rounding != "nearest" or self.bias_correction or self.allocation is not None
        return self.precision in ("int8", "int4") or needs_inputs

    @property
    def needs_torch(self) -> bool:
        """True if the compiler's own tool, which quantizes ONNX graphs, cannot do it."""
        weights, activations = self.weights, self.activations
        is_common = weights.bits in (8, 4) and weights.granularity != "tensor" and weights.scale == "peak"
        is_asymmetric = activations is None or (activations.bits == 8 and not activations.symmetric)
        is_simple = self.calibration.observer == "minmax" and self.calibration.source in ("train", "random")
        is_known = is_common and is_asymmetric and is_simple
        return not is_known or self.is_refined or self.allocation is not None or self.hybrid is not None
