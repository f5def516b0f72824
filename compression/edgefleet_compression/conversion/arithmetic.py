"""The few operators of shape arithmetic and constants, in numpy, with bounded results."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Array = NDArray[Any]
Settings = Mapping[str, Any]
Folder = Callable[[Sequence[Any], Settings], Array]

MAX_FOLDED: Final = 4_000_000
"""Numbers of a folded constant: 16 MB as float32. A larger result is refused before it is made."""


def _bounded(*shape: int) -> tuple[int, ...]:
    if any(length < 0 for length in shape) or math.prod(shape) > MAX_FOLDED:
        raise ValueError(f"a constant of shape {shape} is too large")
    return shape


def _binary(function: Callable[[Array, Array], Any]) -> Folder:
    def fold(operands: Sequence[Any], _: Settings) -> Array:
        left, right = operands
        _bounded(*np.broadcast_shapes(left.shape, right.shape))
        result = np.asarray(function(left, right))
        return result if result.dtype == bool else result.astype(left.dtype)

    return fold


def _unary(function: Callable[[Array], Any]) -> Folder:
    return lambda operands, _: np.asarray(function(operands[0])).astype(operands[0].dtype)


def _divide(left: Array, right: Array) -> Array:
    if left.dtype.kind not in "iu":
        return left / right
    return np.asarray(np.trunc(left / right))  # ONNX rounds whole numbers towards zero


def _axes(operands: Sequence[Any], settings: Settings) -> tuple[int, ...] | None:
    found = operands[1] if len(operands) > 1 else settings.get("axes")
    return None if found is None else tuple(int(axis) for axis in np.ravel(found))


def _constant(_: Sequence[Any], settings: Settings) -> Array:
    if "value" in settings:
        return numpy_helper.to_array(settings["value"])
    name, value = next(iter(settings.items()))
    types: Mapping[str, Any] = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32}
    return np.array(value, types.get(name, np.float32))


def _filled(operands: Sequence[Any], settings: Settings) -> Array:
    value = numpy_helper.to_array(settings["value"]) if "value" in settings else np.zeros(1, np.float32)
    return np.full(_bounded(*(int(length) for length in operands[0])), value.ravel()[0], value.dtype)


def _range(operands: Sequence[Any], _: Settings) -> Array:
    start, limit, delta = (operand.item() for operand in operands)
    _bounded(max(0, math.ceil((limit - start) / delta)) if delta else -1)
    return np.arange(start, limit, delta, dtype=operands[0].dtype)


def _reshape(operands: Sequence[Any], settings: Settings) -> Array:
    data, target = operands
    lengths = [
        data.shape[place] if length == 0 and not settings.get("allowzero") else int(length)
        for place, length in enumerate(target)
    ]
    return np.asarray(data.reshape(lengths))


def _expand(operands: Sequence[Any], _: Settings) -> Array:
    shape = np.broadcast_shapes(operands[0].shape, tuple(int(length) for length in operands[1]))
    return np.array(np.broadcast_to(operands[0], _bounded(*shape)))


def _unsqueeze(operands: Sequence[Any], settings: Settings) -> Array:
    return np.asarray(np.expand_dims(operands[0], _axes(operands, settings) or ()))


def _slice(operands: Sequence[Any], settings: Settings) -> Array:
    data = operands[0]
    if len(operands) > 1:
        starts, ends = operands[1], operands[2]
        axes = operands[3] if len(operands) > 3 and operands[3] is not None else range(len(starts))
        steps = operands[4] if len(operands) > 4 and operands[4] is not None else [1] * len(starts)
    else:
        starts, ends = settings["starts"], settings["ends"]
        axes, steps = settings.get("axes", range(len(starts))), [1] * len(starts)
    index = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        stop = None if int(end) < -data.shape[int(axis)] and step < 0 else int(end)
        index[int(axis)] = slice(int(start), stop, int(step))
    return np.asarray(data[tuple(index)])


def _cast(operands: Sequence[Any], settings: Settings) -> Array:
    return np.asarray(operands[0].astype(onnx.helper.tensor_dtype_to_np_dtype(settings["to"])))


def _where(operands: Sequence[Any], _: Settings) -> Array:
    _bounded(*np.broadcast_shapes(*(operand.shape for operand in operands)))
    return np.asarray(np.where(*operands))


FOLDERS: Final[Mapping[str, Folder]] = MappingProxyType(
    {
        "Constant": _constant,
        "ConstantOfShape": _filled,
        "Range": _range,
        "Reshape": _reshape,
        "Expand": _expand,
        "Unsqueeze": _unsqueeze,
        "Squeeze": lambda operands, settings: np.squeeze(operands[0], _axes(operands, settings)),
        "Transpose": lambda operands, settings: np.transpose(operands[0], settings.get("perm")),
        "Slice": _slice,
        "Gather": lambda operands, settings: np.asarray(np.take(operands[0], operands[1], settings.get("axis", 0))),
        "Concat": lambda operands, settings: np.concatenate(list(operands), settings["axis"]),
        "Cast": _cast,
        "Where": _where,
        "Identity": lambda operands, _: operands[0],
        "ReduceProd": lambda operands, settings: np.asarray(
            np.prod(operands[0], keepdims=bool(settings.get("keepdims", 1))), operands[0].dtype
        ),
        "Add": _binary(np.add),
        "Sub": _binary(np.subtract),
        "Mul": _binary(np.multiply),
        "Div": _binary(_divide),
        "Mod": _binary(np.mod),
        "Pow": _binary(np.power),
        "Equal": _binary(np.equal),
        "Greater": _binary(np.greater),
        "Less": _binary(np.less),
        "Not": lambda operands, _: np.logical_not(operands[0]),
        "Sqrt": _unary(np.sqrt),
        "Neg": _unary(np.negative),
        "Floor": _unary(np.floor),
        "Ceil": _unary(np.ceil),
        "Reciprocal": _unary(np.reciprocal),
    }
)
"""ONNX operator -> its numpy form."""
