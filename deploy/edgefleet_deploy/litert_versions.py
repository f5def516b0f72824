"""Which runtime versions load a .tflite file, by the operators that were seen to load."""

from collections.abc import Mapping
from typing import Any

from edgefleet_deploy.litert_flatbuffer import operator_name
from edgefleet_deploy.targets import Target

SEEN_OPERATORS: Mapping[str, int] = {
    "ADD": 2,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "DEQUANTIZE": 2,
    "FULLY_CONNECTED": 5,
    "MEAN": 2,
    "PAD": 2,
}
"""Operator -> newest version in files that tflite-runtime 2.11.0 and ai-edge-litert 2.1.0 were seen to run rightly, float
and int8 (docs/litert.md). Other operators may load there too, but nobody looked."""


def min_runtime_version(model: Any, target: Target) -> str | None:
    """Return the oldest version of the target's runtime that was seen to load such operators; None where nobody looked."""
    (graph,) = model.subgraphs
    codes = {operator_name(model, operator): model.operatorCodes[operator.opcodeIndex] for operator in graph.operators}
    is_seen = all(name in SEEN_OPERATORS and code.version <= SEEN_OPERATORS[name] for name, code in codes.items())
    return target.min_version if is_seen else None
