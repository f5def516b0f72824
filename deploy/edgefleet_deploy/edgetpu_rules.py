"""What the Edge TPU compiler maps, as data: operators, versions, limits, each with its source and how sure it is.

The vendor publishes a table of operators with known limitations and says nothing about versions; the compiler is closed.
So every entry names where it comes from, and what nobody has written down is counted as mappable with a warning: the
compiler has the last word. docs/edgetpu.md shows the same table; a test compares the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

Confidence = Literal["observed", "documented", "reported", "remembered"]
"""observed: read from a file and its compiled twin. documented: the vendor's table or text, or a copy of it. reported: a
compiler log or issue that somebody published. remembered: known to the authors, source not at hand."""

SOURCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "twin": "github google-coral/test_data: a model and its compiled _edgetpu twin, one custom operator left",
        "test_data": "github google-coral/test_data: published for the Edge TPU, its compiled twin not read",
        "table": "coral.ai/docs/edgetpu/models-intro, copied at developer.axis.com, ARTPEC-7 supported ops",
        "archived": "coral.ai/docs/edgetpu/models-intro, older copy: github dgist-datalab/Datalab_Intern, Edge_TPU",
        "requirements": "coral.ai/docs/edgetpu/models-intro, restated at developer.axis.com, ARTPEC-7 optimization tips",
        "names": "names in coral.ai's table as copied in a text of 2024 (FRC Vision Research, part 1b), without limits",
        "issue-27": "github google-coral/edgetpu issue 27: fully-connected or softmax layer with 2D output",
        "issue-420": "github google-coral/edgetpu issues 396 and 420: version not supported by compiler 15",
        "issue-461": "github google-coral/edgetpu issue 461: a Mean over 256x128x3 stayed on the CPU",
        "issue-631": "github google-coral/edgetpu issue 631: compiler 16 does not know CONV_2D 6",
        "issue-845": "github google-coral/edgetpu issue 845: compiler 16 does not know TRANSPOSE_CONV 4",
        "issue-879": "github google-coral/edgetpu issue 879: compiler 16 does not know QUANTIZE 3",
        "pull-2602": "github tensorflow/tflite-micro pull request 2602 (2024): older kernels take one scale for all channels",
        "log-fc9": "a published compiler log of 2026: FULLY_CONNECTED 9 (keep_num_dims) not supported, 4 mapped",
        "logs": "published compiler logs: otherwise supported, but not mapped due to some unspecified limitation",
        "authors": "known to the authors of this table; source not at hand",
    }
)
"""Key -> where a statement comes from."""

Role = Literal["parameter", "weights", "bias", "state"]
"""What an input is if it is not data. parameter: shapes, axes and the like, constant int32. weights: constant, 8 bits.
bias: constant int32. state: variable of a recurrent layer."""


@dataclass(frozen=True)
class Limit:
    """One limit of an operator. ``code`` names the check (edgetpu_limits.CHECKS) and the reason in a report."""

    code: str
    text: str
    source: str
    confidence: Confidence = "documented"


@dataclass(frozen=True)
class OperatorRule:
    """One operator that the compiler maps.

    versions: version -> source of a sighting of it on an Edge TPU; others below ``refused_from`` are mappable with a
    warning. roles: input position -> what it is, where it is not data. caution: why it may stay on the CPU all the same.
    """

    name: str
    source: str = "table"
    confidence: Confidence = "documented"
    versions: Mapping[int, str] = field(default_factory=dict)
    refused_from: int | None = None
    refused_source: str = ""
    roles: Mapping[int, Role] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    caution: str = ""
    caution_source: str = ""


GENERAL_LIMITS: Final = (
    Limit("dtype_unsupported", "data and weights int8 or uint8, biases int32", "requirements"),
    Limit("shape_dynamic", "sizes of tensors are known when compiling", "requirements"),
    Limit("rank_unsupported", "only the three innermost dimensions exceed 1 (so the batch is 1)", "requirements"),
    Limit("parameter_not_constant", "weights, biases, shapes and axes are constants", "requirements"),
)
"""Limits of every operator."""

_NO_ACTIVATION = Limit("fused_activation", "no fused activation", "table")
_SAME_DILATION = Limit("dilation_unequal", "the same dilation in x and y", "table")
_NO_BATCH = Limit("batch_axis", "not along the batch (axis 0 of four or more)", "table")
_CONVOLUTION: Final[Mapping[int, Role]] = {1: "weights", 2: "bias"}
_AXIS: Final[Mapping[int, Role]] = {1: "parameter"}
_SIZE_CAUTION = "some sizes stay on the CPU"
_RESIZE_CAUTION = "some sizes stay on the CPU, and compiler 15 refused versions that compiler 16 may take"
_LSTM_ROLES: Final[Mapping[int, Role]] = {
    **dict.fromkeys(range(1, 12), "weights"),
    **dict.fromkeys(range(12, 16), "bias"),
    16: "weights",
    17: "bias",
    18: "state",
    19: "state",
}

_RULES: Final = (
    OperatorRule("ADD", versions={1: "test_data", 2: "test_data"}),
    OperatorRule("AVERAGE_POOL_2D", versions={1: "twin"}, limits=(_NO_ACTIVATION,)),
    OperatorRule(
        "CONCATENATION",
        versions={1: "twin"},
        limits=(
            _NO_ACTIVATION,
            Limit("concat_constant", "a constant input only as the second of two, and all zero", "table"),
        ),
    ),
    OperatorRule(
        "CONV_2D",
        versions={1: "twin", 3: "test_data"},
        refused_from=6,
        refused_source="issue-631",
        roles=_CONVOLUTION,
        limits=(_SAME_DILATION,),
    ),
    OperatorRule(
        "DEPTHWISE_CONV_2D",
        versions={1: "twin", 3: "test_data"},
        roles=_CONVOLUTION,
        limits=(_SAME_DILATION,),
    ),
    OperatorRule("EXPAND_DIMS", roles=_AXIS),
    OperatorRule(
        "FULLY_CONNECTED",
        versions={4: "twin"},
        refused_from=9,
        refused_source="log-fc9",
        roles=_CONVOLUTION,
        limits=(
            Limit("weights_format", "weights in the default format", "table"),
            Limit("output_not_1d", "a one-dimensional output", "issue-27"),
        ),
    ),
    OperatorRule("L2_NORMALIZATION"),
    OperatorRule("LOGISTIC"),
    OperatorRule("MAXIMUM"),
    OperatorRule("MAX_POOL_2D", limits=(_NO_ACTIVATION,)),
    OperatorRule(
        "MEAN",
        versions={2: "test_data"},
        roles=_AXIS,
        limits=(
            _NO_BATCH,
            Limit("channels_not_multiple_of_4", "over channels only where their number is a multiple of 4", "table"),
        ),
        caution=_SIZE_CAUTION,
        caution_source="issue-461",
    ),
    OperatorRule("MINIMUM"),
    OperatorRule("MUL"),
    OperatorRule("PACK", limits=(_NO_BATCH,)),
    OperatorRule("PAD", roles=_AXIS, limits=(_NO_BATCH,)),
    OperatorRule(
        "PRELU",
        roles={1: "weights"},
        limits=(Limit("alpha_not_1d", "alpha exceeds 1 in the innermost dimension only", "table"),),
    ),
    OperatorRule("QUANTIZE", versions={1: "twin"}, refused_from=3, refused_source="issue-879"),
    OperatorRule("REDUCE_MAX", roles=_AXIS, limits=(_NO_BATCH,)),
    OperatorRule("REDUCE_MIN", roles=_AXIS, limits=(_NO_BATCH,)),
    OperatorRule("RELU"),
    OperatorRule("RELU6"),
    OperatorRule("RELU_N1_TO_1"),
    OperatorRule("RESHAPE", versions={1: "twin"}, roles=_AXIS, caution=_SIZE_CAUTION, caution_source="table"),
    OperatorRule("RESIZE_BILINEAR", roles=_AXIS, caution=_RESIZE_CAUTION, caution_source="issue-420"),
    OperatorRule(
        "RESIZE_NEAREST_NEIGHBOR", source="archived", roles=_AXIS, caution=_RESIZE_CAUTION, caution_source="issue-420"
    ),
    OperatorRule("RSQRT", source="names"),
    OperatorRule("SLICE", source="archived", roles={1: "parameter", 2: "parameter"}),
    OperatorRule(
        "SOFTMAX",
        source="archived",
        versions={1: "twin", 2: "twin"},
        limits=(
            Limit("input_not_1d", "a one-dimensional input", "archived"),
            Limit("softmax_too_long", "at most 16,000 elements", "archived"),
        ),
    ),
    OperatorRule("SPACE_TO_DEPTH", source="archived"),
    OperatorRule(
        "SPLIT",
        source="archived",
        versions={1: "twin"},
        roles={0: "parameter"},
        limits=(Limit("batch_axis", "not along the batch (axis 0 of four or more)", "authors", "remembered"),),
    ),
    OperatorRule("SQUARED_DIFFERENCE", source="names"),
    OperatorRule(
        "SQUEEZE", source="archived", limits=(Limit("squeeze_inner", "only leading dimensions go", "archived"),)
    ),
    OperatorRule(
        "STRIDED_SLICE",
        source="archived",
        roles={1: "parameter", 2: "parameter", 3: "parameter"},
        limits=(
            Limit("stride_not_1", "every stride 1", "archived"),
            Limit("slice_mask", "no ellipsis mask and no new-axis mask", "archived"),
        ),
    ),
    OperatorRule("SUB", source="archived"),
    OperatorRule("SUM", source="names", roles=_AXIS),
    OperatorRule("TANH", source="archived"),
    OperatorRule(
        "TRANSPOSE",
        source="names",
        roles=_AXIS,
        caution=_SIZE_CAUTION,
        caution_source="logs",
    ),
    OperatorRule(
        "TRANSPOSE_CONV",
        source="names",
        refused_from=4,
        refused_source="issue-845",
        roles={0: "parameter", 1: "weights", 3: "bias"},
    ),
    OperatorRule("UNIDIRECTIONAL_SEQUENCE_LSTM", versions={1: "twin"}, roles=_LSTM_ROLES),
)

PER_CHANNEL_CAUTION: Final = (
    "the weights have one scale per channel, which converters write for this operator since 2024 and the compiler of 2021 may "
    "compute with the first one: compare the golden outputs on the device"
)
"""Warning of FULLY_CONNECTED with such weights (source pull-2602); convolutions always had them."""

RULES: Final[Mapping[str, OperatorRule]] = MappingProxyType({rule.name: rule for rule in _RULES})
"""Operator name -> its rule; an operator without one is not mapped."""
