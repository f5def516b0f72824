"""Look at a model file from a stranger without running anything of it. Loads onnx and safetensors, never torch.

Only called in a child process. Refused: pickles (by content, whatever the name says), truncated or corrupt files,
external data, operators of unknown domains, files above the size limit.
"""

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open

from edgefleet_compression.errors import ModelFileInvalid
from edgefleet_compression.onnx_bounds import refuse_excess
from edgefleet_compression.precision import Precision
from edgefleet_compression.search.families import nature_of
from edgefleet_compression.structure import STRUCTURE_KEY, parse_structure

MAX_FILE_BYTES: Final = 1024**3
"""Below protobuf's own limit of 2 GiB, and more than any model for a small board."""

KNOWN_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operator sets that onnxruntime brings along; any other would need foreign code."""

_ZIP_MAGIC: Final = b"PK\x03\x04"
_EXPORT_MEMBERS: Final = frozenset({"archive_format", "serialized_exported_program.json"})
"""Of the present form (torch/export/pt2_archive/constants.py, ``ARCHIVE_FORMAT_PATH``) and of the one before torch 2.8."""
_PICKLE_PROTOCOL: Final = 0x80
_TAR_MAGIC_AT: Final = 257
_ELEMENT_TYPES: Final[Mapping[int, str]] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.BOOL: "bool",
}


class TensorFacts(BaseModel):
    """One input or output; a dimension that is free (the batch) is null."""

    model_config = ConfigDict(frozen=True)
    name: str
    shape: list[int | None]
    dtype: str
    n_values: int | None = None
    """Token ids lie below this; null where the file does not say."""


class ModelFacts(BaseModel):
    """What a model file says about itself."""

    model_config = ConfigDict(frozen=True)
    format: Literal["safetensors", "onnx"]
    inputs: list[TensorFacts]
    outputs: list[TensorFacts]
    n_parameters: int
    architecture: str | None = None
    task: dict[str, Any] | None = None
    opset: int | None = None
    ir_version: int | None = None
    quantized: bool = False
    operators: list[str] = []
    """Types of an ONNX graph's operators, sorted; those of foreign domains with the domain in front."""
    convertible: bool = True
    """True if training and structural passes can work on it: a candidate, or an ONNX file that has a torch form."""
    obstacles: list[str] = []
    """Of an ONNX file that has none: why."""
    nature: dict[str, Any] | None = None
    """Of a candidate what a search goes by (``search.families.Nature``): family, domain, blocks that may be removed."""


def inspect_model_file(path: Path) -> ModelFacts:
    """Return the facts of a model file, or raise ModelFileInvalid with a code that says what is wrong with it."""
    if _sniff(path) == "safetensors":
        return _safetensors_facts(path)
    return _onnx_facts(read_onnx(path))


def read_onnx(path: Path) -> onnx.ModelProto:
    """Return the checked graph of an ONNX file."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ModelFileInvalid(
            f"{path.name} is not a readable ONNX file (truncated or corrupt): upload it again.", code="file_corrupt"
        ) from error
    if not model.graph.node or not model.opset_import:
        raise ModelFileInvalid(f"{path.name} holds no ONNX graph.", code="file_corrupt")
    refuse_excess(model, path.name)
    _refuse_foreign_parts(model, path.name)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelFileInvalid(f"{path.name} is not a valid ONNX model: {error}", code="file_corrupt") from error
    return model


def graph_precision(model: onnx.ModelProto) -> Precision:
    """Return the number format that the graph's own operators and weights say."""
    operators = {node.op_type for node in model.graph.node}
    types = {tensor.data_type for tensor in model.graph.initializer}
    if operators & {"QuantizeLinear", "QLinearConv", "QLinearMatMul"}:
        return "int8"
    if operators & {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulInteger", "ConvInteger"}:
        return "int8-dynamic"
    if operators & {"DequantizeLinear", "MatMulNBits"}:
        is_4_bit = "MatMulNBits" in operators or bool(types & {onnx.TensorProto.INT4, onnx.TensorProto.UINT4})
        return "int4-weights" if is_4_bit else "int8-weights"
    has_halves = onnx.TensorProto.FLOAT16 in types and onnx.TensorProto.FLOAT not in types
    return "fp16" if has_halves else "fp32"


def initializer_names(graph: onnx.GraphProto) -> frozenset[str]:
    """Return the names of the graph's constants; older files list them among the inputs too."""
    return frozenset(tensor.name for tensor in graph.initializer)


def _sniff(path: Path) -> Literal["safetensors", "onnx"]:
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise ModelFileInvalid(
            f"The model file {path.name} cannot be read: {error.strerror}.", code="file_missing"
        ) from error
    if size > MAX_FILE_BYTES:
        raise ModelFileInvalid(f"{path.name} has {size} bytes; the limit is {MAX_FILE_BYTES}.", code="file_too_large")
    if size < 16:
        raise ModelFileInvalid(f"{path.name} is empty or cut off ({size} bytes).", code="file_corrupt")
    if head.startswith(_ZIP_MAGIC) and _is_export_archive(path):
        raise ModelFileInvalid(
            f"{path.name} is an archive of torch.export, whose reader unpickles parts of it as the file says: export ONNX "
            "from the program (torch.onnx.export(program, dynamo=True)), or save a candidate as safetensors.",
            code="export_archive_refused",
        )
    if _is_pickle(head):
        raise ModelFileInvalid(
            f"{path.name} is a pickle or a torch archive, which can run code when loaded: export ONNX, or save a "
            "candidate as safetensors.",
            code="pickle_refused",
        )
    header_bytes = int.from_bytes(head[:8], "little")
    looks_like_safetensors = head[8:9] == b"{" or path.suffix == ".safetensors"
    if looks_like_safetensors and header_bytes + 8 > size:
        raise ModelFileInvalid(f"{path.name} is cut off: upload it again.", code="file_corrupt")
    return "safetensors" if looks_like_safetensors else "onnx"


def _is_export_archive(path: Path) -> bool:
    """True for torch.export's archives, told by the names of their members: nothing is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.rpartition("/")[2] for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    return bool(members & _EXPORT_MEMBERS)


def _is_pickle(head: bytes) -> bool:
    binary = len(head) > 2 and head[0] == _PICKLE_PROTOCOL and head[1] <= 5
    text = head[:1] in (b"(", b"c", b"]", b"}") and head[1:2] in (b"d", b"l", b"_", b"b", b"q", b"p")
    tar = head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar"
    return binary or text or tar or head.startswith(_ZIP_MAGIC)


def _safetensors_facts(path: Path) -> ModelFacts:
    try:
        with safe_open(path, framework="numpy") as archive:
            metadata = archive.metadata() or {}
            names = [name for name in archive.keys() if not name.endswith(_BUFFER_SUFFIXES)]  # noqa: SIM118
            n_parameters = sum(_size(archive.get_slice(name).get_shape()) for name in names)
    except SafetensorError as error:
        raise ModelFileInvalid(
            f"{path.name} is not a readable safetensors file: {error}.", code="file_corrupt"
        ) from error
    if STRUCTURE_KEY not in metadata:
        raise ModelFileInvalid(
            f"{path.name} has no {STRUCTURE_KEY} in its metadata: weights alone do not say which network they belong to. "
            "Save it with edgefleet_compression.candidate.save_candidate, or upload ONNX.",
            code="structure_missing",
        )
    structure = parse_structure(metadata[STRUCTURE_KEY])
    return ModelFacts(
        format="safetensors",
        inputs=[
            TensorFacts(
                name=structure.input.name,
                shape=[None, *structure.input.shape],
                dtype=structure.input.dtype,
                n_values=structure.input.n_values,
            )
        ],
        outputs=[TensorFacts(name="output", shape=[None, structure.task.n_classes], dtype="float32")],
        n_parameters=n_parameters,
        architecture=structure.architecture,
        task=structure.task.model_dump(mode="json"),
        quantized=structure.quantization is not None,
        nature=asdict(nature_of(structure)),
    )


_BUFFER_SUFFIXES: Final = (
    "running_mean",
    "running_var",
    "num_batches_tracked",
    "weight_scale",
    "zero_point",
    "scale",
)
"""State that is not trained: it is no parameter."""


def _onnx_facts(model: onnx.ModelProto) -> ModelFacts:
    from edgefleet_compression.conversion.importer import find_obstacles  # it imports this module

    obstacles = find_obstacles(model)
    constants = initializer_names(model.graph)
    return ModelFacts(
        format="onnx",
        inputs=[_tensor_facts(value) for value in model.graph.input if value.name not in constants],
        outputs=[_tensor_facts(value) for value in model.graph.output],
        n_parameters=sum(
            _size(list(tensor.dims)) for tensor in model.graph.initializer if tensor.data_type in _WEIGHT_TYPES
        ),
        opset=next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), None),
        ir_version=model.ir_version,
        quantized=any(node.op_type == "QuantizeLinear" for node in model.graph.node),
        operators=sorted({_operator_name(node) for node in _walk_nodes(model.graph.node)}),
        convertible=not obstacles,
        obstacles=list(obstacles),
    )


def _operator_name(node: onnx.NodeProto) -> str:
    return str(node.op_type) if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


_WEIGHT_TYPES: Final = frozenset(
    {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.INT8}
)


def _tensor_facts(value: onnx.ValueInfoProto) -> TensorFacts:
    tensor = value.type.tensor_type
    shape = [item.dim_value if item.HasField("dim_value") and item.dim_value > 0 else None for item in tensor.shape.dim]
    return TensorFacts(name=value.name, shape=shape, dtype=_ELEMENT_TYPES.get(tensor.elem_type, "unsupported"))


def _refuse_foreign_parts(model: onnx.ModelProto, name: str) -> None:
    graphs = [model.graph, *(function for function in model.functions)]
    for part in graphs:
        for node in _walk_nodes(part.node):
            if node.domain not in KNOWN_DOMAINS:
                raise ModelFileInvalid(
                    f"{name} uses operator {node.op_type} of domain {node.domain!r}, which would need foreign code on the "
                    "board: export it with standard operators.",
                    code="custom_operator_refused",
                    detail={"operator": node.op_type, "domain": node.domain},
                )
    for tensor in _walk_tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise ModelFileInvalid(
                f"{name} keeps tensor {tensor.name!r} in another file: save it as one file (save_as_external_data=False).",
                code="external_data_refused",
                detail={"tensor": tensor.name},
            )


def _walk_nodes(nodes: Any) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _walk_nodes(graph.node)


def _walk_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from model.graph.initializer
    for sparse in model.graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for part in (model.graph, *model.functions):
        for node in _walk_nodes(part.node):
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)
                for graph in (attribute.g, *attribute.graphs):
                    yield from graph.initializer


def _size(shape: list[int]) -> int:
    total = 1
    for length in shape:
        total *= length
    return total
