"""Removing what a runtime does not need from a graph: a quarter of a small int8 file is names, metadata and copies.

Every function changes the model or graph given.
"""

from collections.abc import Mapping

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, defs, helper

from edgefleet_deploy.onnx_graph import GraphView, attribute, drop_unused, has_subgraphs, remove_nodes, rename_uses

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def make_lean(model: ModelProto) -> None:
    """Share equal constants and equal Q/DQ nodes, drop what is unread, default, descriptive or only a long name.

    Names of graph inputs and outputs stay. The result depends on the graph alone, so equal graphs give equal bytes.
    """
    _share(model)
    _drop_default_attributes(model)
    _strip(model)


def make_lean_but_explicit(model: ModelProto) -> None:
    """Do the same but leave attributes that are their defaults, for parsers that would rather read than infer them."""
    _share(model)
    _strip(model)


def _share(model: ModelProto) -> None:
    graph = model.graph
    _hide_initializer_inputs(graph)
    if not has_subgraphs(model):
        share_initializers(graph)
        share_quantization_nodes(graph)
    drop_unused(graph)


def _strip(model: ModelProto) -> None:
    _strip_descriptions(model)
    if not has_subgraphs(model):
        _shorten_names(model.graph)
    drop_unused_opsets(model)


def _hide_initializer_inputs(graph: GraphProto) -> None:
    """Files of IR 3 list every weight as an input; since IR 4 that only forbids folding it."""
    stored = {tensor.name for tensor in graph.initializer}
    for index in range(len(graph.input) - 1, -1, -1):
        if graph.input[index].name in stored:
            del graph.input[index]


def share_initializers(graph: GraphProto) -> int:
    """Keep one of each set of equal constants; return how many went."""
    outputs = {value.name for value in graph.output}
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    renamed: dict[str, str] = {}
    for tensor in graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if tensor.name in outputs:
            continue
        key = (tensor.data_type, tuple(tensor.dims), array.tobytes())
        kept = first.setdefault(key, tensor.name)
        if kept != tensor.name:
            renamed[tensor.name] = kept
    _rename_inputs(graph, renamed)
    return len(renamed)


def _rename_inputs(graph: GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in names:
                node.input[index] = names[name]


def share_quantization_nodes(graph: GraphProto) -> int:
    """Keep one of each set of QuantizeLinear or DequantizeLinear nodes with equal inputs; return how many went."""
    outputs = {value.name for value in graph.output}
    first: dict[tuple[object, ...], NodeProto] = {}
    doomed: list[NodeProto] = []
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or node.output[0] in outputs:
            continue
        key = (node.op_type, node.domain, tuple(node.input), attribute(node, "axis", 1))
        kept = first.setdefault(key, node)
        if kept is not node:
            rename_uses(graph, node.output[0], kept.output[0])
            doomed.append(node)
    remove_nodes(graph, doomed)
    return len(doomed)


def _drop_default_attributes(model: ModelProto) -> None:
    version = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    view = GraphView(model.graph)
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or not defs.has(node.op_type, version, ""):
            continue
        schema = defs.get_schema(node.op_type, version, "")
        for index in range(len(node.attribute) - 1, -1, -1):
            item = node.attribute[index]
            if _is_default(item, schema) or (node.op_type == "Conv" and _is_conv_default(node, item, view, weights)):
                del node.attribute[index]


def _is_default(item: AttributeProto, schema: defs.OpSchema) -> bool:
    described = schema.attributes.get(item.name)
    if described is None or not described.default_value.name:
        return False
    default: AttributeProto = described.default_value
    return item.type == default.type and helper.get_attribute_value(item) == helper.get_attribute_value(default)


def _is_conv_default(
    node: NodeProto, item: AttributeProto, view: GraphView, weights: Mapping[str, tuple[int, ...]]
) -> bool:
    """Defaults that ONNX states in words only (operator Conv): ones, zeros, and the kernel as wide as the weight."""
    if item.name in ("dilations", "strides"):
        return all(value == 1 for value in item.ints)
    if item.name == "pads":
        return not any(item.ints)
    if item.name != "kernel_shape":
        return False
    dequantize = view.producer(node.input[1], "DequantizeLinear")
    shape = weights.get(dequantize.input[0] if dequantize is not None else node.input[1])
    return shape is not None and tuple(item.ints) == shape[2:]


def _strip_descriptions(model: ModelProto) -> None:
    for name in ("doc_string", "producer_name", "producer_version", "domain", "metadata_props", "model_version"):
        model.ClearField(name)
    graph = model.graph
    for name in ("doc_string", "metadata_props", "value_info", "quantization_annotation"):
        graph.ClearField(name)
    graph.name = "g"
    for value in (*graph.input, *graph.output):
        value.ClearField("doc_string")
        value.ClearField("metadata_props")
    for tensor in graph.initializer:
        tensor.ClearField("doc_string")
        tensor.ClearField("metadata_props")
    for node in graph.node:
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
        for item in node.attribute:
            item.ClearField("doc_string")


def _shorten_names(graph: GraphProto) -> None:
    public = {value.name for value in (*graph.input, *graph.output)}
    counter = 0
    renamed: dict[str, str] = {name: name for name in public}

    def short(name: str) -> str:
        nonlocal counter
        if name and name not in renamed:
            candidate = _base36(counter)
            while candidate in public:
                counter += 1
                candidate = _base36(counter)
            renamed[name] = candidate
            counter += 1
        return renamed.get(name, "")

    for number, node in enumerate(graph.node):
        node.name = _base36(number)
        for index, name in enumerate(node.input):
            node.input[index] = short(name)
        for index, name in enumerate(node.output):
            node.output[index] = short(name)
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
    tensors = sorted(graph.initializer, key=lambda tensor: tensor.name)
    copies = [onnx.TensorProto.FromString(tensor.SerializeToString(deterministic=True)) for tensor in tensors]
    del graph.initializer[:]
    graph.initializer.extend(copies)


def _base36(number: int) -> str:
    digits = ""
    while True:
        number, remainder = divmod(number, len(_DIGITS))
        digits = _DIGITS[remainder] + digits
        if number == 0:
            return digits


def drop_unused_opsets(model: ModelProto) -> None:
    """Remove opset imports no node uses: old runtimes refuse a version they do not know, even of an unused domain."""
    used = {_domain(node.domain) for node in model.graph.node} | {""}
    for function in model.functions:
        used.add(_domain(function.domain))
    seen: set[str] = set()
    for index in range(len(model.opset_import) - 1, -1, -1):
        domain = _domain(model.opset_import[index].domain)
        if domain not in used or domain in seen:
            del model.opset_import[index]
        seen.add(domain)


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name
