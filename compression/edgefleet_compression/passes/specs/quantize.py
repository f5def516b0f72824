from typing import Literal

from pydantic import Field

from edgefleet_compression.passes.specs.base import Spec


class WeightFormat(Spec):
    """Format of the weights: signed, symmetric, one scale per output channel."""

    bits: Literal[8] = Field(8, description="Bits per weight.")
    symmetric: Literal[True] = Field(True, description="Zero is represented by the integer 0.")
    per_channel: Literal[True] = Field(True, description="One scale per output channel.")


class ActivationFormat(Spec):
    """Format of the activations: asymmetric, one scale and zero point per tensor."""

    bits: Literal[8] = Field(8, description="Bits per activation.")
    signed: bool = Field(False, description="false: uint8 (onnxruntime on x86 and ARM); true: int8.")


class Calibration(Spec):
    """How the range of an activation is found from samples of the training split."""

    observer: Literal["minmax"] = Field("minmax", description="minmax: smallest and largest value seen.")
    n_samples: int = Field(256, ge=1, le=65536, description="Samples of the training split to observe.")


class QuantizationFormat(Spec):
    """The formats and the calibration that ``quantize`` and ``fake_quant`` share."""

    weights: WeightFormat = Field(default_factory=WeightFormat, description="Format of the weights.")
    activations: ActivationFormat = Field(default_factory=ActivationFormat, description="Format of the activations.")
    calibration: Calibration = Field(default_factory=Calibration, description="How activation ranges are found.")


class Quantize(QuantizationFormat):
    """Post-training quantization: attach scales found on calibration samples; deploy folds them to integers, last."""

    kind: Literal["quantize"] = "quantize"
