"""ONNX operators as nodes of plain layers: everything but convolutions and pooling (``spatial``). Torch-free."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from edgefleet_compression.conversion.builder import BATCH, GraphBuilder, Operand, refused
from edgefleet_compression.conversion.folding import attributes_of

Array = NDArray[Any]
_SOFTMAX_OF_ONE_AXIS: Final = 13
"""Opset from which Softmax works on one axis; before, on all axes from the given one on."""
_CASTS: Final[Mapping[int, str]] = {
    onnx.TensorProto.FLOAT: "to_float",
    onnx.TensorProto.BOOL: "to_bool",
    onnx.TensorProto.INT64: "to_int64",
    onnx.TensorProto.INT32: "to_int64",
}


@dataclass(frozen=True)
class Operator:
    """One ONNX node with its attributes, as a converter takes it."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, node: onnx.NodeProto) -> "Operator":
        """Return the node's parts; trailing inputs that are left out are gone."""
        inputs = list(node.input)
        while inputs and not inputs[-1]:
            inputs.pop()
        return cls(node.op_type, tuple(inputs), tuple(node.output), attributes_of(node))

    def input(self, place: int) -> str | None:
        """Return the name of an optional input, or None."""
        return self.inputs[place] or None if place < len(self.inputs) else None

    def axes(self, build: GraphBuilder) -> tuple[int, ...] | None:
        """Return the axes, which newer operator sets give as an input; not negative."""
        name = self.input(1)
        found = build.constant(name, "axes").ravel() if name else self.settings.get("axes")
        if found is None:
            return None
        rank = len(build.shape(self.inputs[0])) + (len(found) if self.kind == "Unsqueeze" else 0)
        return tuple(sorted(int(axis) % rank for axis in found))

    def axis(self, build: GraphBuilder, default: int) -> int:
        """Return the one axis, not negative."""
        return int(self.settings.get("axis", default)) % len(build.shape(self.inputs[0]))


Converter = Callable[[Operator, GraphBuilder], Operand | tuple[str, ...]]


def _layer(op: str, **renamed: tuple[str, float]) -> Converter:
    """Return the converter of a layer of one input; ``renamed``: our setting -> (ONNX attribute, its default)."""

    def convert(node: Operator, build: GraphBuilder) -> Operand:
        settings = {ours: float(node.settings.get(theirs, default)) for ours, (theirs, default) in renamed.items()}
        return build.emit(op, (build.computed(node.inputs[0]),), settings)

    return convert


def _binary(op: str) -> Converter:
    def convert(node: Operator, build: GraphBuilder) -> Operand:
        operands = tuple(build.operand(name) for name in node.inputs)
        result = operands[0]
        for other in operands[1:]:
            result = build.emit(op, (result, other))
        return result

    return convert


def _alias(node: Operator, build: GraphBuilder) -> Operand:
    return build.operand(node.inputs[0])


def _matmul(node: Operator, build: GraphBuilder) -> Operand:
    left, right = node.inputs
    if build.is_constant(right) and build.constant(right, "weight").ndim == 2:
        weight = build.constant(right, "weight").astype(np.float32)
        return _linear(build, build.computed(left), weight.T, None, right)
    return build.emit("matmul", (build.computed(left), build.computed(right)))


def _gemm(node: Operator, build: GraphBuilder) -> Operand:
    if node.settings.get("transA", 0):
        raise refused("transA is set")
    weight = build.constant(node.inputs[1], "weight").astype(np.float32) * np.float32(node.settings.get("alpha", 1.0))
    name = node.input(2)
    bias = None
    if name:
        bias = build.constant(name, "bias").astype(np.float32) * np.float32(node.settings.get("beta", 1.0))
    weight = weight if node.settings.get("transB", 0) else weight.T
    return _linear(build, build.computed(node.inputs[0]), weight, bias, node.inputs[1])


def _linear(build: GraphBuilder, source: str, weight: Array, bias: Array | None, hint: str) -> str:
    n_out, n_in = weight.shape
    settings = {"in_features": n_in, "out_features": n_out, "bias": int(bias is not None)}
    weights = {"weight": weight}
    if bias is not None:
        weights["bias"] = np.broadcast_to(bias.ravel(), (n_out,))
    return build.emit("linear", (source,), settings, hint=hint, **weights)


def _clip(node: Operator, build: GraphBuilder) -> Operand:
    low, high = (_limit(node, build, place, name) for place, name in ((1, "min"), (2, "max")))
    source = (build.computed(node.inputs[0]),)
    if low == 0.0 and high is None:
        return build.emit("relu", source)
    if (low, high) == (0.0, 6.0):
        return build.emit("relu6", source)
    largest = float(np.finfo(np.float32).max)
    return build.emit(
        "hardtanh", source, {"min_val": -largest if low is None else low, "max_val": largest if high is None else high}
    )


def _limit(node: Operator, build: GraphBuilder, place: int, name: str) -> float | None:
    found = node.input(place)
    value = float(build.constant(found, name).item()) if found else node.settings.get(name)
    return None if value is None or abs(value) >= float(np.finfo(np.float32).max) else float(value)


def _softmax(node: Operator, build: GraphBuilder) -> Operand:
    rank = len(build.shape(node.inputs[0]))
    axis = node.axis(build, -1 if build.opset >= _SOFTMAX_OF_ONE_AXIS else 1)
    if build.opset < _SOFTMAX_OF_ONE_AXIS and axis != rank - 1:
        raise refused("it works on several axes at once")
    return build.emit("softmax", (build.computed(node.inputs[0]),), {"dim": axis})


def _gelu(node: Operator, build: GraphBuilder) -> Operand:
    approximate = bytes(node.settings.get("approximate", b"none")).decode()
    return build.emit("gelu", (build.computed(node.inputs[0]),), {"approximate": approximate})


def _hard_sigmoid(node: Operator, build: GraphBuilder) -> Operand:
    alpha, beta = float(node.settings.get("alpha", 0.2)), float(node.settings.get("beta", 0.5))
    source = build.computed(node.inputs[0])
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return build.emit("hardsigmoid", (source,))
    shifted = build.emit("add", (build.emit("mul", (source, alpha)), beta))
    return build.emit("hardtanh", (shifted,), {"min_val": 0.0, "max_val": 1.0})


def _layer_norm(node: Operator, build: GraphBuilder) -> Operand:
    shape = build.shape(node.inputs[0])
    width = shape[node.axis(build, -1) :]
    if BATCH in width or len(node.outputs) > 1:
        raise refused("it has more than one output or normalizes over the batch")
    scale = np.broadcast_to(build.constant(node.inputs[1], "scale").astype(np.float32), width)
    name = node.input(2)
    bias = build.constant(name, "bias").astype(np.float32) if name else np.zeros(width, np.float32)
    settings = {"normalized_shape": width, "eps": float(node.settings.get("epsilon", 1e-5))}
    return build.emit(
        "layernorm",
        (build.computed(node.inputs[0]),),
        settings,
        hint=node.inputs[1],
        weight=scale,
        bias=np.broadcast_to(bias, width),
    )


def _reshape(node: Operator, build: GraphBuilder) -> Operand:
    before, after = build.shape(node.inputs[0]), build.shape(node.outputs[0])
    source = build.computed(node.inputs[0])
    if before == after:
        return source
    if (
        len(after) == 2
        and after[0] == BATCH
        and build.grows_as_batch(node.inputs[0])
        and build.grows_as_batch(node.outputs[0])
    ):
        return build.emit("flatten", (source,))
    if after.count(BATCH) > 1:
        raise refused("its target has the batch in two places")
    return build.emit("reshape", (source,), {"shape": after})


def _squeeze(node: Operator, build: GraphBuilder) -> Operand:
    axes = node.axes(build)
    if axes is None:
        axes = tuple(place for place, length in enumerate(build.shape(node.inputs[0])) if length == 1)
    return build.emit("squeeze", (build.computed(node.inputs[0]),), {"dims": axes})


def _unsqueeze(node: Operator, build: GraphBuilder) -> Operand:
    place = build.computed(node.inputs[0])
    for axis in node.axes(build) or ():
        place = build.emit("unsqueeze", (place,), {"dim": axis})
    return place


def _transpose(node: Operator, build: GraphBuilder) -> Operand:
    rank = len(build.shape(node.inputs[0]))
    dims = tuple(int(axis) for axis in node.settings.get("perm", range(rank - 1, -1, -1)))
    return build.emit("permute", (build.computed(node.inputs[0]),), {"dims": dims})


def _concat(node: Operator, build: GraphBuilder) -> Operand:
    parts = tuple(build.computed(name) for name in node.inputs)
    shapes = [build.shape(name) for name in node.inputs]
    dynamic = next((name for name in node.inputs if not build.is_constant(name)), node.inputs[0])
    axis = int(node.settings["axis"]) % len(build.shape(dynamic))
    if any(shape[0] == 1 for shape in shapes) and any(shape[0] == BATCH for shape in shapes):
        raise refused("it joins a constant to every sample")
    return build.emit("concat", parts, {"dim": axis})


def _gather(node: Operator, build: GraphBuilder) -> Operand:
    table, indices = node.inputs
    if build.is_constant(table):
        weight = build.constant(table, "table")
        if weight.ndim != 2 or weight.dtype.kind != "f" or int(node.settings.get("axis", 0)):
            raise refused("it looks up something other than rows of a table")
        settings = {"num_embeddings": weight.shape[0], "embedding_dim": weight.shape[1]}
        return build.emit(
            "embedding", (build.computed(indices),), settings, hint=table, weight=weight.astype(np.float32)
        )
    axis = node.axis(build, 0)
    places = build.constant(indices, "indices")
    if axis == 0:
        raise refused("it picks samples out of the batch")
    length = build.shape(table)[axis]
    if places.ndim == 0:
        return build.emit("select", (build.computed(table),), {"dim": axis, "index": int(places) % length})
    if places.ndim > 1:
        raise refused("its indices have more than one dimension")
    literal = {"values": [int(place) % length for place in places], "shape": places.shape, "kind": "int64"}
    return build.emit("index_select", (build.computed(table), build.emit("literal", (), literal)), {"dim": axis})


def _slice(node: Operator, build: GraphBuilder) -> Operand:
    if len(node.inputs) > 1:
        parts = [build.constant(name, "range") if name else None for name in node.inputs[1:]]
    else:
        parts = [node.settings.get("starts"), node.settings.get("ends"), node.settings.get("axes")]
    starts, ends, axes, steps = (*parts, None, None)[:4]
    if starts is None or ends is None:
        raise refused("it says no range")
    shape, place = build.shape(node.inputs[0]), build.computed(node.inputs[0])
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = int(axes[index] if axes is not None else index) % len(shape)
        step = int(steps[index]) if steps is not None else 1
        if step < 1 or shape[axis] == BATCH:
            raise refused("it runs backwards or over the batch")
        first, last, _ = slice(int(start), int(end), step).indices(shape[axis])
        place = build.emit("slice", (place,), {"dim": axis, "start": first, "stop": last, "step": step})
    return place


def _split(node: Operator, build: GraphBuilder) -> tuple[str, ...]:
    axis, source = node.axis(build, 0), build.computed(node.inputs[0])
    places: list[str] = []
    start = 0
    for name in node.outputs:
        length = build.shape(name)[axis]
        if length == BATCH:
            raise refused("it splits the batch")
        places.append(build.emit("slice", (source,), {"dim": axis, "start": start, "stop": start + length, "step": 1}))
        start += length
    return tuple(places)


def _reduce(op: str) -> Converter:
    def convert(node: Operator, build: GraphBuilder) -> Operand:
        shape, axes = build.shape(node.inputs[0]), node.axes(build)
        axes = tuple(range(len(shape))) if axes is None else axes
        keepdim = int(node.settings.get("keepdims", 1))
        source = build.computed(node.inputs[0])
        if 0 in axes:
            raise refused("it reduces over the batch")
        if op == "mean" and len(shape) == 4 and axes == (2, 3):
            pooled = build.emit("global_avgpool2d", (source,))
            return pooled if keepdim else build.emit("flatten", (pooled,))
        return build.emit(op, (source,), {"dims": axes, "keepdim": keepdim})

    return convert


def _cast(node: Operator, build: GraphBuilder) -> Operand:
    op = _CASTS.get(int(node.settings["to"]))
    if op is None:
        raise refused(f"it makes {onnx.TensorProto.DataType.Name(node.settings['to'])} of its input")
    return build.emit(op, (build.computed(node.inputs[0]),))


def _where(node: Operator, build: GraphBuilder) -> Operand:
    return build.emit("where", (build.computed(node.inputs[0]), *(build.operand(name) for name in node.inputs[1:])))


def _reciprocal(node: Operator, build: GraphBuilder) -> Operand:
    return build.emit("div", (1.0, build.computed(node.inputs[0])))


CONVERTERS: Final[Mapping[str, Converter]] = MappingProxyType(
    {
        **dict.fromkeys(("Identity", "Dropout"), _alias),
        **{kind: _binary(kind.lower()) for kind in ("Add", "Sub", "Mul", "Div", "Pow")},
        "Sum": _binary("add"),
        **{kind: _layer(kind.lower()) for kind in ("Relu", "Sigmoid", "Tanh", "Softplus", "HardSwish")},
        **{kind: _layer(kind.lower()) for kind in ("Sqrt", "Exp", "Log", "Neg", "Abs", "Erf")},
        "Not": _layer("logical_not"),
        "Equal": _binary("equal"),
        "Reciprocal": _reciprocal,
        "LeakyRelu": _layer("leaky_relu", negative_slope=("alpha", 0.01)),
        "Elu": _layer("elu", alpha=("alpha", 1.0)),
        "Clip": _clip,
        "HardSigmoid": _hard_sigmoid,
        "Gelu": _gelu,
        "Softmax": _softmax,
        "MatMul": _matmul,
        "Gemm": _gemm,
        "LayerNormalization": _layer_norm,
        **dict.fromkeys(("Reshape", "Flatten"), _reshape),
        "Squeeze": _squeeze,
        "Unsqueeze": _unsqueeze,
        "Transpose": _transpose,
        "Concat": _concat,
        "Gather": _gather,
        "Slice": _slice,
        "Split": _split,
        "ReduceMean": _reduce("mean"),
        "ReduceSum": _reduce("sum"),
        "ReduceMax": _reduce("amax"),
        "Cast": _cast,
        "Where": _where,
    }
)
"""ONNX operator -> what makes nodes of it."""
