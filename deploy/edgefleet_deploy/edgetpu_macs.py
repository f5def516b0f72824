"""Multiply-accumulate operations of one inference, per operator of a .tflite file."""

import math
from collections.abc import Callable, Mapping

from edgefleet_deploy.edgetpu_model import Operator, Tensor


def count_macs(operator: Operator) -> int:
    """Return the operator's multiply-accumulates; 0 for those that only move, compare, add or look up."""
    count = _COUNTS.get(operator.name)
    if count is None or not operator.outputs:
        return 0
    return count(operator)


def _size(tensor: Tensor | None) -> int:
    return 0 if tensor is None else math.prod(max(dim, 1) for dim in tensor.shape)


def _weights(operator: Operator, position: int = 1) -> tuple[int, ...]:
    tensor = operator.inputs[position] if position < len(operator.inputs) else None
    return () if tensor is None else tensor.shape


def _convolution(operator: Operator) -> int:
    """Every output value sums over the filter (out, height, width, in)."""
    return _size(operator.outputs[0]) * math.prod(_weights(operator)[1:])


def _depthwise(operator: Operator) -> int:
    """Every output value sums over the filter's window (1, height, width, out)."""
    return _size(operator.outputs[0]) * math.prod(_weights(operator)[1:3])


def _fully_connected(operator: Operator) -> int:
    return _size(operator.outputs[0]) * math.prod(_weights(operator)[1:])


def _transposed_convolution(operator: Operator) -> int:
    """Every input value (input 2) goes through the whole filter (out, height, width, in) of its channel."""
    return _size(operator.inputs[2] if len(operator.inputs) > 2 else None) * math.prod(_weights(operator)[:3])


def _lstm(operator: Operator) -> int:
    """All gates' matrices, once a step: inputs 1 to 8 of (units, in) and (units, units), and the projection, 16."""
    data = operator.inputs[0] if operator.inputs else None
    matrices = [t for t in (*operator.inputs[1:9], *operator.inputs[16:17]) if t is not None]
    steps = 0 if data is None else _size(data) // max(data.shape[-1], 1) if data.shape else 0
    return steps * sum(_size(matrix) for matrix in matrices)


def _batch_matmul(operator: Operator) -> int:
    left = operator.inputs[0] if operator.inputs else None
    if left is None or len(left.shape) < 2:
        return 0
    return _size(operator.outputs[0]) * left.shape[-2 if operator.options.get("adj_x") else -1]


_COUNTS: Mapping[str, Callable[[Operator], int]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "TRANSPOSE_CONV": _transposed_convolution,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
    "BATCH_MATMUL": _batch_matmul,
}
