"""Small .tflite files, written field by field: networks that no converter makes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flatbuffers
import pytest

from edgefleet_deploy.edgetpu_builtins import BUILTIN_NAMES, CUSTOM

# numbers of TensorFlow Lite's schema.fbs
DTYPES = {"float32": 0, "int32": 2, "uint8": 3, "int64": 4, "int16": 7, "int8": 9}
NEWER_CODES = 127

WriteTflite = Callable[..., bytes]


@pytest.fixture(scope="session")
def write_tflite() -> WriteTflite:
    """Write a file.

    tensors: dicts of shape and, at will, dtype (int8), content, signature, zero_point, n_scales and variable. operators: dicts of
    name, inputs, outputs and, at will, version and options, which are field number -> (int8 or int32, value).
    """
    return _write


def _write(
    tensors: Sequence[Mapping[str, Any]],
    operators: Sequence[Mapping[str, Any]],
    inputs: Sequence[int],
    outputs: Sequence[int],
    *,
    n_subgraphs: int = 1,
) -> bytes:
    builder = flatbuffers.Builder(1024)
    contents = [tensor.get("content") for tensor in tensors]
    # buffer 0 is empty by convention, constants follow
    buffers = [_buffer(builder, content) for content in [b"", *(c for c in contents if c is not None)]]
    places, n = [], 0
    for content in contents:
        n += content is not None
        places.append(n if content is not None else 0)
    tables = [_tensor(builder, t, i, place) for i, (t, place) in enumerate(zip(tensors, places, strict=True))]
    graph = _subgraph(builder, tables, operators, inputs, outputs)
    codes = [_code(builder, operator) for operator in operators]
    fields = {
        1: _tables(builder, codes),
        2: _tables(builder, [graph] * n_subgraphs),
        4: _tables(builder, buffers),
    }
    builder.StartObject(5)
    builder.PrependUint32Slot(0, 3, 0)
    for field, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    builder.Finish(builder.EndObject(), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _buffer(builder: Any, content: bytes) -> int:
    data = builder.CreateByteVector(content)
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, data, 0)
    return int(builder.EndObject())


def _code(builder: Any, operator: Mapping[str, Any]) -> int:
    name = operator["name"]
    number = BUILTIN_NAMES.index(name) if name in BUILTIN_NAMES else CUSTOM
    custom = builder.CreateString(name) if number == CUSTOM else 0
    builder.StartObject(4)
    builder.PrependInt8Slot(0, min(number, NEWER_CODES), 0)
    if custom:
        builder.PrependUOffsetTRelativeSlot(1, custom, 0)
    builder.PrependInt32Slot(2, operator.get("version", 1), 1)
    builder.PrependInt32Slot(3, number, 0)
    return int(builder.EndObject())


def _tensor(builder: Any, tensor: Mapping[str, Any], index: int, buffer: int) -> int:
    name = builder.CreateString(f"tensor{index}")
    shape = _integers(builder, tensor["shape"])
    signature = _integers(builder, tensor["signature"]) if "signature" in tensor else 0
    builder.StartVector(8, 1, 8)
    builder.PrependInt64(tensor.get("zero_point", 0))
    zero_points = builder.EndVector()
    n_scales = tensor.get("n_scales", 1)
    builder.StartVector(4, n_scales, 4)
    for _ in range(n_scales):
        builder.PrependFloat32(0.5)
    scales = builder.EndVector()
    builder.StartObject(7)
    builder.PrependUOffsetTRelativeSlot(2, scales, 0)
    builder.PrependUOffsetTRelativeSlot(3, zero_points, 0)
    quantization = builder.EndObject()
    builder.StartObject(8)
    builder.PrependUOffsetTRelativeSlot(0, shape, 0)
    builder.PrependInt8Slot(1, DTYPES[tensor.get("dtype", "int8")], 0)
    builder.PrependUint32Slot(2, buffer, 0)
    builder.PrependUOffsetTRelativeSlot(3, name, 0)
    builder.PrependUOffsetTRelativeSlot(4, quantization, 0)
    builder.PrependBoolSlot(5, tensor.get("variable", False), False)
    if signature:
        builder.PrependUOffsetTRelativeSlot(7, signature, 0)
    return int(builder.EndObject())


def _subgraph(
    builder: Any,
    tensors: Sequence[int],
    operators: Sequence[Mapping[str, Any]],
    inputs: Sequence[int],
    outputs: Sequence[int],
) -> int:
    fields = {
        0: _tables(builder, tensors),
        1: _integers(builder, inputs),
        2: _integers(builder, outputs),
        3: _tables(builder, [_operator(builder, operator, i) for i, operator in enumerate(operators)]),
    }
    builder.StartObject(4)
    for field, offset in fields.items():
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    return int(builder.EndObject())


def _operator(builder: Any, operator: Mapping[str, Any], index: int) -> int:
    inputs, outputs = _integers(builder, operator["inputs"]), _integers(builder, operator["outputs"])
    options = operator.get("options", {})
    builder.StartObject(8)
    for field, (kind, value) in options.items():
        (builder.PrependInt8Slot if kind == "int8" else builder.PrependInt32Slot)(field, value, -77)
    table = builder.EndObject()
    builder.StartObject(5)
    builder.PrependUint32Slot(0, index, 0)
    builder.PrependUOffsetTRelativeSlot(1, inputs, 0)
    builder.PrependUOffsetTRelativeSlot(2, outputs, 0)
    if options:
        builder.PrependUint8Slot(3, 1, 0)
        builder.PrependUOffsetTRelativeSlot(4, table, 0)
    return int(builder.EndObject())


def _integers(builder: Any, values: Sequence[int]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependInt32(value)
    return int(builder.EndVector())


def _tables(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
