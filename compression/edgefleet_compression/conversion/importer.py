"""From an ONNX graph to a description of plain layers and their weights, or to the list of what stands in the way.

Torch-free, so that the inspection of an uploaded file says whether training passes can work on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import onnx
from numpy.typing import NDArray
from pydantic import ValidationError

from edgefleet_compression.conversion.builder import GraphBuilder
from edgefleet_compression.conversion.folding import BATCHES, FoldedGraph, fold_graph
from edgefleet_compression.conversion.fusion import Fusion
from edgefleet_compression.conversion.operators import CONVERTERS, Operator
from edgefleet_compression.conversion.spatial import SPATIAL
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.inspection import graph_precision
from edgefleet_compression.models.specs.onnx_graph import INPUT, OnnxGraphArguments

Array = NDArray[Any]
MAX_OBSTACLES: Final = 8
_INPUT_TYPES: Final[Mapping[int, str]] = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.INT64: "int64"}


@dataclass(frozen=True)
class ImportedGraph:
    """The description, its tensors by parameter name, and what was left out."""

    arguments: OnnxGraphArguments
    tensors: Mapping[str, Array]
    input_name: str
    has_softmax_removed: bool
    """True if the file's last operator turns scores into probabilities; training and export work on the scores."""


def find_obstacles(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return what keeps the graph from being converted to plain layers; empty where nothing is known to."""
    try:
        import_graph(model)
    except PassRefused as error:
        return tuple(error.detail["obstacles"])
    return ()


def import_graph(model: onnx.ModelProto) -> ImportedGraph:
    """Return the graph as plain layers; PassRefused ``needs_torch_model`` with ``detail.obstacles`` if it has no such form."""
    obstacles: list[str] = []
    imported: ImportedGraph | None = None
    try:
        imported = _import(model, obstacles)
    except PassRefused as error:
        obstacles.append(error.message)
    except (ValidationError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        obstacles.append(f"its description is inconsistent: {type(error).__name__}: {str(error)[:200]}")
    if imported is not None and not obstacles:
        return imported
    listed = tuple(dict.fromkeys(obstacles))[:MAX_OBSTACLES]
    raise PassRefused(
        "The ONNX graph cannot be made a torch network, which this pass needs: "
        + "; ".join(listed)
        + ". Export it with standard operators of one input and one output of class scores, give the network as safetensors, "
        "or choose a recipe of quantize or cast alone, which take the file as it is.",
        code="needs_torch_model",
        detail={"obstacles": list(listed)},
    )


def _import(model: onnx.ModelProto, obstacles: list[str]) -> ImportedGraph:
    precision = graph_precision(model)
    if precision != "fp32":
        raise PassRefused(f"its numbers are {precision} already", code="not_convertible")
    folded = fold_graph(model)
    build = GraphBuilder(folded)
    broken: set[str] = set()
    for node in folded.nodes:
        _convert(node, build, obstacles, broken)
    if obstacles:
        raise PassRefused(obstacles[0], code="not_convertible")
    fusion = Fusion(build.nodes, build.tensors, build.computed(folded.output))
    fusion.run()
    last = fusion.nodes.get(fusion.output)
    ends_in_softmax = last is not None and last.op == "softmax"
    if last is not None and ends_in_softmax:
        fusion.output = str(last.inputs[0])
        del fusion.nodes[last.name]
    return ImportedGraph(_arguments(folded, build, fusion), fusion.tensors, folded.input.name, ends_in_softmax)


def _convert(node: onnx.NodeProto, build: GraphBuilder, obstacles: list[str], broken: set[str]) -> None:
    if broken & set(node.input):  # what comes after an obstacle says nothing of its own
        broken |= set(node.output)
        return
    converter = (CONVERTERS.get(node.op_type) or SPATIAL.get(node.op_type)) if node.domain in ("", "ai.onnx") else None
    kind = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
    if converter is None:
        obstacles.append(f"operator {kind} has no plain layer")
        broken |= set(node.output)
        return
    try:
        places = converter(Operator.of(node), build)
    except PassRefused as error:
        obstacles.append(f"operator {kind} {node.name or node.output[0]!r}: {error.message}")
        broken |= set(node.output)
        return
    if isinstance(places, tuple):
        for name, place in zip(node.output, places, strict=True):
            build.settle(name, place)
    else:
        build.settle(node.output[0], places)


def _arguments(folded: FoldedGraph, build: GraphBuilder, fusion: Fusion) -> OnnxGraphArguments:
    shape = build.shape(folded.output)
    if len(shape) != 2 or folded.shapes[0][folded.output][0] != BATCHES[0] or shape[1] < 2:
        raise PassRefused(
            f"its output is not one row of class scores per sample, but {list(shape)}", code="not_convertible"
        )
    element = _INPUT_TYPES.get(folded.input.type.tensor_type.elem_type)
    if element is None:
        raise PassRefused("its input is neither float32 nor int64", code="not_convertible")
    dims = folded.input.type.tensor_type.shape.dim
    return OnnxGraphArguments.model_validate(
        {
            "n_classes": shape[1],
            "sample_shape": tuple(dim.dim_value for dim in dims[1:]),
            "sample_type": element,
            "vocabulary": _vocabulary(fusion) if element == "int64" else None,
            "nodes": tuple(fusion.nodes.values()),
            "output": fusion.output,
        }
    )


def _vocabulary(fusion: Fusion) -> int:
    tables = [
        int(str(node.settings["num_embeddings"]))
        for node in fusion.nodes.values()
        if node.op == "embedding" and INPUT in node.inputs
    ]
    if not tables:
        raise PassRefused("its int64 input is not looked up in a table", code="not_convertible")
    return min(tables)
