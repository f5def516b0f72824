"""Which runtime versions load a .tflite file, by the operators that were seen to load."""

from collections.abc import Mapping
from typing import Any

from edgefleet_deploy.litert_flatbuffer import operator_name
from edgefleet_deploy.targets import Target

_FIRST_VERSION = (
    *("ADD", "BATCH_MATMUL", "CAST", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE", "DIV", "EMBEDDING_LOOKUP", "GELU"),
    *("MAXIMUM", "MEAN", "MUL", "NOT_EQUAL", "PAD", "RESHAPE", "RSQRT", "SOFTMAX", "SQUARED_DIFFERENCE", "SUB", "SUM"),
    "TRANSPOSE",
)

SEEN_OPERATORS: Mapping[str, int] = {**dict.fromkeys(_FIRST_VERSION, 1), "FULLY_CONNECTED": 5}
"""Operator -> version in files that tflite-runtime 2.11.0 and ai-edge-litert 2.1.0 were seen to run as the newest ones do:
a residual network and a MobileNetV2 in float, int8 and int8-weights, a text encoder in float and int8-weights
(docs/litert.md). Other operators may run there too, but nobody looked."""


def min_runtime_version(model: Any, target: Target) -> str | None:
    """Return the oldest version of the target's runtime that was seen to load such operators; None where nobody looked."""
    (graph,) = model.subgraphs
    codes = {operator_name(model, operator): model.operatorCodes[operator.opcodeIndex] for operator in graph.operators}
    is_seen = all(name in SEEN_OPERATORS and code.version <= SEEN_OPERATORS[name] for name, code in codes.items())
    return target.min_version if is_seen else None
