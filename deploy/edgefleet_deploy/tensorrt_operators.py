"""ONNX operators that TensorRT's parser refuses. Torch-free, so that a controller can refuse at submission."""

from typing import Final

UNSUPPORTED: Final[frozenset[str]] = frozenset(
    {
        *("BitShift", "Compress", "ConcatFromSequence", "ConvInteger", "Det", "DynamicQuantizeLinear"),
        *("MatMulInteger", "MaxRoiPool", "MaxUnpool", "Multinomial", "NegativeLogLikelihoodLoss"),
        *("QLinearConv", "QLinearMatMul", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase"),
        *("SequenceInsert", "SequenceLength", "SoftmaxCrossEntropyLoss", "SplitToSequence", "StringNormalizer"),
        "TfIdfVectorizer",
    }
)
"""Marked N in the operator matrix of onnx-tensorrt for 8.4 (github onnx/onnx-tensorrt, docs/operators.md, commit 009d6541).
That 10 still lacks these is from memory; where it should have one after all, the target is refused too early, never late."""

UNSUPPORTED_BEFORE_10: Final[frozenset[str]] = frozenset(
    {
        *("Hardmax", "IsInf", "MeanVarianceNormalization", "Mod", "NonZero", "OneHot", "RandomNormal"),
        *("RandomNormalLike", "Reciprocal", "RoiAlign", "Shrink", "Unique"),
    }
)
"""Marked N in the same matrix; of later versions the device's own parser decides."""

NEWEST_OPSET_BEFORE_10: Final = 13
"""The same document: "supports operators up to Opset 13"."""


def unsupported_operators(operators: frozenset[str], *, before_10: bool) -> frozenset[str]:
    """Return those of the operator types that no TensorRT of the target has."""
    return operators & (UNSUPPORTED | UNSUPPORTED_BEFORE_10 if before_10 else UNSUPPORTED)
