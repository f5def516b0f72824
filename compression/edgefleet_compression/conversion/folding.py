"""Work out what of an ONNX graph does not depend on the input: shapes for any batch, and constant subgraphs.

Exporters write shape arithmetic into the graph (Shape, Gather, Concat, Reshape). It is carried out here for batches of two
and of three samples; what differs between them depends on the batch. Only small integer arithmetic on numpy arrays, with
bounded results: no kernel of a runtime runs. Torch-free.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from edgefleet_compression.conversion.arithmetic import FOLDERS, MAX_FOLDED
from edgefleet_compression.errors import PassRefused

Array = NDArray[Any]
Shape = tuple[int, ...]

BATCHES: Final = (2, 3)
MAX_INFERRED_CONSTANT: Final = 1024
"""Larger constants are no shapes: shape inference gets their type and dimensions, not their numbers."""
MAX_ROUNDS: Final = 32
MAX_NODES: Final = 4096


@dataclass(frozen=True)
class FoldedGraph:
    """What is left to compute, in order; ``constants`` and ``shapes`` by value name."""

    nodes: tuple[onnx.NodeProto, ...]
    constants: Mapping[str, Array]
    shapes: tuple[Mapping[str, Shape], Mapping[str, Shape]]
    """Shapes for each of ``BATCHES``."""
    input: onnx.ValueInfoProto
    output: str
    opset: int


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the node's attributes as Python values."""
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def fold_graph(model: onnx.ModelProto) -> FoldedGraph:
    """Return the graph without its constant parts; PassRefused if it has no form that could be converted at all."""
    single_input = _single_input(model)
    if len(model.graph.node) > MAX_NODES:
        raise PassRefused(f"the graph has more than {MAX_NODES} nodes", code="not_convertible")
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    first, second = (_fold_for(model, weights, single_input, batch) for batch in BATCHES)
    constants = _common(first[0], second[0])
    folded = first[0].keys() & second[0].keys()  # more than is constant: shapes that hold the batch
    live = tuple(node for node in model.graph.node if node.output[0] not in folded)
    opset = next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    return FoldedGraph(live, constants, (first[1], second[1]), single_input, model.graph.output[0].name, opset)


def _single_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initializers]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise PassRefused(
            f"it has {len(inputs)} inputs and {len(model.graph.output)} outputs; training takes one of each",
            code="not_convertible",
        )
    single: onnx.ValueInfoProto = inputs[0]
    dims = single.type.tensor_type.shape.dim
    if not dims or any(not dim.dim_value for dim in dims[1:]):
        raise PassRefused("its input leaves a dimension beside the batch free", code="not_convertible")
    if any(item.domain in ("", "ai.onnx") for item in model.opset_import):
        return single
    raise PassRefused("it imports no standard operator set", code="not_convertible")


def _fold_for(
    model: onnx.ModelProto, weights: Mapping[str, Array], single_input: onnx.ValueInfoProto, batch: int
) -> tuple[dict[str, Array], dict[str, Shape]]:
    constants = dict(weights)
    is_fixed = single_input.type.tensor_type.shape.dim[0].dim_value == 1
    for _ in range(MAX_ROUNDS):
        shapes = _infer(model, constants, single_input.name, batch, is_fixed=is_fixed)
        n_before = len(constants)
        for node in model.graph.node:
            _fold_node(node, constants, shapes)
        if len(constants) == n_before or all(
            name in shapes for node in model.graph.node for name in node.output if name
        ):
            return constants, shapes
    raise PassRefused("its shape arithmetic is too deep to be worked out", code="not_convertible")


def _fold_node(node: onnx.NodeProto, constants: dict[str, Array], shapes: Mapping[str, Shape]) -> None:
    if node.output[0] in constants or node.domain not in ("", "ai.onnx"):
        return
    if node.op_type in ("Shape", "Size"):
        shape = shapes.get(node.input[0])
        if shape is not None:
            settings = attributes_of(node)
            part = shape[settings.get("start", 0) : settings.get("end", len(shape))]
            constants[node.output[0]] = np.array(part if node.op_type == "Shape" else math.prod(shape), np.int64)
        return
    folder = FOLDERS.get(node.op_type)
    if folder is None or any(name and name not in constants for name in node.input):
        return
    operands = [constants[name] if name else None for name in node.input]
    try:
        with np.errstate(all="ignore"):
            result = folder(operands, attributes_of(node))
    except (ValueError, IndexError, TypeError, OverflowError, AttributeError, KeyError):
        return  # not something numpy takes: the node stays, and its own handler says what is wrong with it
    if result.size <= MAX_FOLDED:
        constants[node.output[0]] = result


def _infer(
    model: onnx.ModelProto, constants: Mapping[str, Array], input_name: str, batch: int, *, is_fixed: bool
) -> dict[str, Shape]:
    """Return the shapes of all values whose shape is known, by ONNX's own inference on the graph without its weights."""
    bare = onnx.ModelProto(ir_version=max(model.ir_version, 4), opset_import=model.opset_import)
    bare.graph.name = "bare"
    bare.graph.output.append(onnx.ValueInfoProto(name=model.graph.output[0].name))
    bare.graph.output[0].type.tensor_type.elem_type = model.graph.output[0].type.tensor_type.elem_type
    for value in model.graph.input:
        if value.name == input_name:
            bare.graph.input.append(value)
            bare.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
    for name, array in constants.items():
        small = array.size <= MAX_INFERRED_CONSTANT
        if small:
            bare.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        else:
            element = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            bare.graph.input.append(onnx.helper.make_tensor_value_info(name, element, array.shape))
    for node in model.graph.node:
        if node.output[0] not in constants:
            bare.graph.node.append(node)
            if is_fixed and node.op_type == "Reshape":
                _free_batch(bare, constants, batch)
    try:
        inferred = onnx.shape_inference.infer_shapes(bare, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise PassRefused(f"its shapes cannot be inferred: {error}", code="not_convertible") from error
    values = [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]
    shapes = {value.name: _known(value) for value in values if value.type.tensor_type.HasField("shape")}
    found = {name: shape for name, shape in shapes.items() if shape is not None}
    return {**found, **{name: array.shape for name, array in constants.items()}}


def _free_batch(bare: onnx.ModelProto, constants: Mapping[str, Array], batch: int) -> None:
    """Of a graph whose batch is written down as one, let a reshape to [1, ...] mean the batch."""
    node = bare.graph.node[-1]
    target = constants.get(node.input[1])
    if target is not None and target.size > 1 and target.flat[0] == 1:
        name = f"{node.output[0]}/batch"
        changed = target.copy()
        changed.flat[0] = batch
        bare.graph.initializer.append(numpy_helper.from_array(changed, name))
        node.input[1] = name


def _known(value: onnx.ValueInfoProto) -> Shape | None:
    dims = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in value.type.tensor_type.shape.dim]
    return tuple(dims) if all(length > 0 for length in dims) else None


def _common(first: Mapping[str, Array], second: Mapping[str, Array]) -> dict[str, Array]:
    """Return what is constant whatever the batch; of tables repeated for every sample, one sample's."""
    common: dict[str, Array] = {}
    for name in first.keys() & second.keys():
        a, b = first[name], second[name]
        if a.shape == b.shape and np.array_equal(a, b):
            common[name] = a
        elif _is_repeated(a, b):
            common[name] = a[:1]
    return common


def _is_repeated(a: Array, b: Array) -> bool:
    """True for a table of two rows and one of three that repeat the same row."""
    if not a.ndim or (*a.shape[:1], *b.shape[:1]) != BATCHES or a.shape[1:] != b.shape[1:]:
        return False
    return bool((a == a[:1]).all() and (b == a[:1]).all())
