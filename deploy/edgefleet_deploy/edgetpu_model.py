"""A .tflite file as values: its operators with versions, tensors and the options that the Edge TPU's rules look at.

Field numbers: TensorFlow Lite's schema.fbs (version 3). A schema only ever appends fields, so the numbers stay. The
generated readers were not taken: ``ai_edge_litert`` brings 160 MB, and the package ``tflite`` checks no offsets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from edgefleet_deploy.edgetpu_builtins import BUILTIN_NAMES, CUSTOM
from edgefleet_deploy.edgetpu_flatbuffer import FlatTable, Kind, root_table
from edgefleet_deploy.errors import FileUnusable

EDGETPU_CUSTOM_OP: Final = "edgetpu-custom-op"
"""Name of the one operator that stands for everything the Edge TPU computes (libedgetpu, tflite/public/edgetpu.h)."""

T = TypeVar("T")

_IDENTIFIER = b"TFL3"
_DTYPES: Final = (
    "float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8", "float64",
    "complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4", "bfloat16",
)  # fmt: skip
_NO_TENSOR = -1

_OPTIONS: Final[Mapping[str, Mapping[str, tuple[int, Kind, int]]]] = {
    "CONV_2D": {"fused_activation": (3, "i8", 0), "dilation_w": (4, "i32", 1), "dilation_h": (5, "i32", 1)},
    "DEPTHWISE_CONV_2D": {"fused_activation": (4, "i8", 0), "dilation_w": (5, "i32", 1), "dilation_h": (6, "i32", 1)},
    "AVERAGE_POOL_2D": {"fused_activation": (5, "i8", 0)},
    "MAX_POOL_2D": {"fused_activation": (5, "i8", 0)},
    "FULLY_CONNECTED": {"fused_activation": (0, "i8", 0), "weights_format": (1, "i8", 0)},
    "CONCATENATION": {"axis": (0, "i32", 0), "fused_activation": (1, "i8", 0)},
    "PACK": {"axis": (1, "i32", 0)},
    "STRIDED_SLICE": {"ellipsis_mask": (2, "i32", 0), "new_axis_mask": (3, "i32", 0)},
    "BATCH_MATMUL": {"adj_x": (0, "bool", 0), "adj_y": (1, "bool", 0)},
}
"""Operator -> option -> (field number, kind, default) in its options table."""


@dataclass(frozen=True)
class Tensor:
    """One tensor. signature: the shape with -1 for free dimensions. A constant has its content, anything else None.

    n_scales: 0 for real numbers, 1 for integers with one scale, more for one scale per channel.
    """

    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    dtype: str
    zero_point: int
    n_scales: int
    is_variable: bool
    content: bytes | None

    @property
    def is_constant(self) -> bool:
        """Whether the file holds its values."""
        return self.content is not None

    def integers(self) -> tuple[int, ...] | None:
        """Return the values of an int32 constant, None for any other tensor."""
        if self.content is None or self.dtype != "int32":
            return None
        words = len(self.content) // 4
        return tuple(int.from_bytes(self.content[4 * i : 4 * i + 4], "little", signed=True) for i in range(words))


@dataclass(frozen=True)
class Operator:
    """One operator; ``inputs`` keeps its positions, None where an optional input is absent."""

    index: int
    name: str
    version: int
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TfliteModel:
    """The first subgraph of a file; operators in the order in which they run."""

    operators: tuple[Operator, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    n_subgraphs: int

    @property
    def n_compiled_parts(self) -> int:
        """How many operators stand for parts that run on an Edge TPU."""
        return sum(operator.name == EDGETPU_CUSTOM_OP for operator in self.operators)


def read_tflite(data: bytes) -> TfliteModel:
    """Return what the file holds; FileUnusable ``not_tflite`` or ``file_damaged``."""
    if data[4:8] != _IDENTIFIER:
        raise FileUnusable(
            "this is not a .tflite file (bytes 4 to 7 are not TFL3); give a TensorFlow Lite or LiteRT model",
            code="not_tflite",
        )
    model = root_table(data)
    subgraphs = model.tables(2)
    if not subgraphs:
        raise FileUnusable("the file holds no network (no subgraph); produce it again", code="file_damaged")
    return _read_subgraph(model, subgraphs[0], len(subgraphs))


def _read_subgraph(model: FlatTable, graph: FlatTable, n_subgraphs: int) -> TfliteModel:
    codes = [_read_code(code) for code in model.tables(1)]
    operators = graph.tables(3)
    not_constant = {*graph.integers(1), *(index for operator in operators for index in operator.integers(2))}
    buffers = model.tables(4)
    tensors = [
        _read_tensor(table, buffers, may_be_constant=index not in not_constant)
        for index, table in enumerate(graph.tables(0))
    ]
    return TfliteModel(
        operators=tuple(_read_operator(i, operator, codes, tensors) for i, operator in enumerate(operators)),
        inputs=tuple(_at(tensors, index, "tensor") for index in graph.integers(1)),
        outputs=tuple(_at(tensors, index, "tensor") for index in graph.integers(2)),
        n_subgraphs=n_subgraphs,
    )


def _read_code(code: FlatTable) -> tuple[str, int]:
    """Return name and version; codes above 127 are in the newer field, others in both or the older one only."""
    number = max(code.number(0, "i8"), code.number(3, "i32"))
    version = code.number(2, "i32", 1)
    if number == CUSTOM:
        return code.text(1) or "CUSTOM", version
    return BUILTIN_NAMES[number] if 0 <= number < len(BUILTIN_NAMES) else f"BUILTIN_{number}", version


def _read_tensor(table: FlatTable, buffers: Sequence[FlatTable], *, may_be_constant: bool) -> Tensor:
    dtype, shape = table.number(1, "i8"), table.integers(0)
    quantization = table.table(4)
    is_variable = bool(table.number(5, "bool"))
    is_constant = may_be_constant and not is_variable
    return Tensor(
        name=table.text(3),
        shape=shape,
        signature=table.integers(7) or shape,
        dtype=_DTYPES[dtype] if 0 <= dtype < len(_DTYPES) else f"type {dtype}",
        zero_point=0 if quantization is None else _first_long(quantization, 3),
        n_scales=0 if quantization is None else len(quantization.integers(2)),
        is_variable=is_variable,
        content=_at(buffers, table.number(2, "u32"), "buffer").content(0) if is_constant else None,
    )


def _first_long(table: FlatTable, number: int) -> int:
    """Return the low half of the first of some 64-bit integers; 0 where there is none. A zero point fits it."""
    values = table.integers(number)
    return values[0] if values else 0


def _read_operator(
    index: int, table: FlatTable, codes: Sequence[tuple[str, int]], tensors: Sequence[Tensor]
) -> Operator:
    name, version = _at(codes, table.number(0, "u32"), "operator code")
    options = table.table(4)
    return Operator(
        index=index,
        name=name,
        version=version,
        inputs=tuple(None if i == _NO_TENSOR else _at(tensors, i, "tensor") for i in table.integers(1)),
        outputs=tuple(_at(tensors, i, "tensor") for i in table.integers(2)),
        options={
            option: default if options is None else options.number(number, kind, default)
            for option, (number, kind, default) in _OPTIONS.get(name, {}).items()
        },
    )


def _at(items: Sequence[T], index: int, what: str) -> T:
    if not 0 <= index < len(items):
        raise FileUnusable(
            f"the file is damaged: it refers to {what} {index} of {len(items)}; produce or copy it again",
            code="file_damaged",
        )
    return items[index]
