"""Reading and writing .tflite files: the object form of the flatbuffer, written without what no runtime needs."""

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgefleet_deploy.onnx_graph import Array

FILE_IDENTIFIER = b"TFL3"
"""Stands at byte 4 of every file (schema.fbs of TensorFlow Lite)."""

BUFFER_ALIGNMENT = 16
"""Of a buffer's data (force_align in schema.fbs); kernels read weights with aligned vector loads."""

OPERATOR_NAMES: Mapping[int, str] = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}
"""Code of a built-in operator -> its name, such as CONV_2D."""

TENSOR_TYPES: Mapping[int, str] = {
    code: name for name, code in vars(schema.TensorType).items() if not name.startswith("_")
}
"""Code of a tensor's type -> its name, such as FLOAT32."""


def read_model(payload: bytes) -> Any:
    """Return the object form (schema ModelT) of a file; data that stand behind the flatbuffer are moved into it."""
    model = schema.ModelT.InitFromPackedBuf(payload, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:  # 0: no such data; 1 is a placeholder (schema.fbs, table Buffer)
            buffer.data = np.frombuffer(payload, np.uint8, count=buffer.size, offset=buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def operator_name(model: Any, operator: Any) -> str:
    """Return the name of an operator, such as CONV_2D; of a custom one its own."""
    code = model.operatorCodes[operator.opcodeIndex]
    if code.customCode:
        return str(code.customCode.decode())
    return OPERATOR_NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]


def constant_of(model: Any, tensor: Any) -> Array | None:
    """Return the bytes of a constant tensor as they are stored (uint8), or None for one that is computed."""
    data = model.buffers[tensor.buffer].data
    return None if data is None or len(data) == 0 else data


def write_lean(model: Any, *, input_names: Sequence[str], output_names: Sequence[str]) -> bytes:
    """Return a file that computes the same with inputs and outputs of these names; equal models give equal bytes.

    Left out: metadata, the description, names of inner tensors, buffers that no tensor uses. Equal constants, shapes and
    scales are stored once.
    """
    (graph,) = model.subgraphs
    model.metadata, model.metadataBuffer, model.description = None, None, None
    graph.name = None
    for tensor in graph.tensors:
        tensor.name = None
        tensor.shapeSignature = None
    _name(graph, graph.inputs, input_names)
    _name(graph, graph.outputs, output_names)
    _name_signatures(model, input_names, output_names)
    _share_buffers_(model)
    builder = _SharingBuilder(1024)
    builder.Finish(model.Pack(builder), file_identifier=FILE_IDENTIFIER)
    return bytes(builder.Output())


def _name(graph: Any, indices: Sequence[int], names: Sequence[str]) -> None:
    for index, name in zip(indices, names, strict=True):
        graph.tensors[index].name = name.encode()


def _name_signatures(model: Any, input_names: Sequence[str], output_names: Sequence[str]) -> None:
    """Keep one signature: the newer API finds inputs and outputs by it."""
    (signature,) = model.signatureDefs
    (graph,) = model.subgraphs
    for maps, indices, names in (
        (signature.inputs, graph.inputs, input_names),
        (signature.outputs, graph.outputs, output_names),
    ):
        by_index = dict(zip([int(index) for index in indices], names, strict=True))
        for item in maps:
            item.name = by_index[int(item.tensorIndex)].encode()


def _share_buffers_(model: Any) -> None:
    """Renumber buffers so that equal constants of equal type are one, and unused ones are gone. Buffer 0 stays empty."""
    kept = [model.buffers[0]]
    known: dict[bytes, int] = {}
    for tensor in model.subgraphs[0].tensors:
        data = constant_of(model, tensor)
        if data is None:
            tensor.buffer = 0
            continue
        content = np.asarray(data, np.uint8).tobytes()
        if content not in known:
            known[content] = len(kept)
            kept.append(model.buffers[tensor.buffer])
        tensor.buffer = known[content]
    model.buffers = kept


class _SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]  # the library has no type information
    """Writes equal vectors once, and the data of buffers aligned."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._vectors: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: Array) -> int:  # noqa: N802 - the library's name
        """Return the offset of a vector of numbers, written now or before."""
        key = (x.dtype.str, x.tobytes())
        if key not in self._vectors:
            self._vectors[key] = self._write(x)
        return self._vectors[key]

    def _write(self, x: Array) -> int:
        # the vectors of bytes in this schema are the data of buffers and options of custom operators
        alignment = BUFFER_ALIGNMENT if x.dtype == np.uint8 else x.dtype.alignment
        self.StartVector(x.itemsize, x.size, alignment)
        content = x.astype(x.dtype.newbyteorder("<")).tobytes()
        start = int(self.Head()) - len(content)
        self.head = start
        self.Bytes[start : start + len(content)] = content
        self.vectorNumElems = x.size
        return int(self.EndVector())
