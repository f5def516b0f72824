"""Constant folding: what needs no input is computed once, here, and stored. The functions change the graph given."""

import onnxruntime
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgefleet_deploy.onnx_graph import Array, GraphView, add_initializer, has_subgraphs, remove_nodes, rename_uses
from edgefleet_deploy.onnx_session import ORT_ERRORS

NEVER_FOLDED = frozenset(
    {
        "DequantizeLinear",  # would turn stored integers back into floats four times their size
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Multinomial",
        "Bernoulli",
    }
)
_ALWAYS_SMALL_BYTES = 1024


def store_constants(graph: GraphProto) -> int:
    """Turn Constant nodes into initializers, which can be shared; return how many there were."""
    done: list[NodeProto] = []
    outputs = {value.name for value in graph.output}
    for node in graph.node:
        tensor = _constant_tensor(node) if node.op_type == "Constant" else None
        if tensor is None or node.output[0] in outputs:
            continue
        graph.initializer.append(tensor)
        done.append(node)
    remove_nodes(graph, done)
    return len(done)


def _constant_tensor(node: NodeProto) -> TensorProto | None:
    item = node.attribute[0] if len(node.attribute) == 1 else None
    if item is None:
        return None
    name = node.output[0]
    tensor: TensorProto
    if item.name == "value" and item.type == AttributeProto.TENSOR:
        tensor = TensorProto.FromString(item.t.SerializeToString())
        tensor.name = name
        return tensor
    if item.name in ("value_float", "value_floats"):
        floats = list(item.floats) if item.name == "value_floats" else [item.f]
        tensor = helper.make_tensor(
            name, TensorProto.FLOAT, [len(floats)] if item.name == "value_floats" else [], floats
        )
        return tensor
    if item.name in ("value_int", "value_ints"):
        integers = list(item.ints) if item.name == "value_ints" else [item.i]
        tensor = helper.make_tensor(
            name, TensorProto.INT64, [len(integers)] if item.name == "value_ints" else [], integers
        )
        return tensor
    return None


def fold_constants(model: ModelProto, *, kept: frozenset[str] = NEVER_FOLDED) -> int:
    """Compute every node whose inputs are all constant, as onnxruntime would; return how many went.

    A weight behind QuantizeLinear becomes an integer initializer this way; DequantizeLinear stays. A result larger
    than what it is made of stays a node (ConstantOfShape, Expand, Tile), and so do operators named in ``kept`` and anything
    in or around a subgraph.
    """
    if has_subgraphs(model):
        return 0
    view = GraphView(model.graph)
    known = {name: numpy_helper.to_array(tensor) for name, tensor in view.initializers.items()}
    folded: list[NodeProto] = []
    for node in model.graph.node:
        if not _is_foldable(node, known, view.outputs, kept):
            continue
        try:
            values = _evaluate(node, known, model)
        except ORT_ERRORS:
            continue  # it stays a node: the session over the whole file reports what the runtime lacks
        read = sum(known[name].nbytes for name in node.input if name)
        if sum(value.nbytes for value in values) > max(read, _ALWAYS_SMALL_BYTES):
            continue
        for name, value in zip(node.output, values, strict=True):
            known[name] = value
            add_initializer(model.graph, name, value)
        folded.append(node)
    remove_nodes(model.graph, folded)
    return len(folded)


def _is_foldable(node: NodeProto, known: dict[str, Array], outputs: set[str], kept: frozenset[str]) -> bool:
    return (
        node.domain in ("", "ai.onnx")
        and node.op_type not in kept
        and all(name in known for name in node.input if name)
        and all(name and name not in outputs for name in node.output)
    )


def _evaluate(node: NodeProto, known: dict[str, Array], model: ModelProto) -> list[Array]:
    constants = {name: numpy_helper.from_array(known[name], name) for name in node.input if name}
    graph = helper.make_graph(
        [node],
        "constant",
        [],
        [helper.make_empty_tensor_value_info(name) for name in node.output],
        initializer=list(constants.values()),
    )
    single = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(single.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {}))


def drop_identities(graph: GraphProto) -> int:
    """Remove Identity nodes (and Dropout without a mask, which is one at inference); return how many went."""
    view = GraphView(graph)
    done: list[NodeProto] = []
    for node in graph.node:
        is_identity = node.op_type == "Identity" or (node.op_type == "Dropout" and len(node.output) == 1)
        if not is_identity or node.domain not in ("", "ai.onnx"):
            continue
        if node.output[0] in view.outputs or any(
            node.output[0] not in reader.input for reader in view.consumers[node.output[0]]
        ):
            continue
        rename_uses(graph, node.output[0], node.input[0])
        done.append(node)
    remove_nodes(graph, done)
    return len(done)
