from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgefleet_deploy.onnx_fusion import fold_batch_norm
from edgefleet_deploy.onnx_graph import GraphView, drop_unused

Array = NDArray[Any]


def constant(name: str, values: object, dtype: Any = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def conv_norm(
    weight_nodes: list[NodeProto],
    weight_tensors: list[TensorProto],
    gain: list[float],
    *,
    norm_is_output: bool = True,
    bias: list[float] | None = None,
) -> ModelProto:
    last = "y" if norm_is_output else "n"
    nodes = [
        *weight_nodes,
        helper.make_node("Conv", ["x", "w", *(["b"] if bias is not None else [])], ["c"]),
        helper.make_node("BatchNormalization", ["c", "g", "shift", "mean", "var"], [last], epsilon=0.0),
    ]
    if not norm_is_output:
        nodes.append(helper.make_node("Relu", ["n"], ["y"]))
    tensors = [
        *weight_tensors,
        constant("g", gain),
        constant("shift", [1.0, 2.0]),
        constant("mean", [0.5, -0.5]),
        constant("var", [4.0, 0.25]),
    ]
    if bias is not None:
        tensors.append(constant("b", bias))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 3, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2, 3, 3])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


def run(model: ModelProto) -> Array:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.linspace(-2, 2, 18, dtype=np.float32).reshape(2, 1, 3, 3)
    output: Array = session.run(None, {"x": x})[0]
    return output


@pytest.mark.parametrize("norm_is_output", [True, False])
@pytest.mark.parametrize("bias", [None, [0.25, -3.0]])
def test_folded_norm_computes_the_same(norm_is_output: bool, bias: list[float] | None) -> None:
    model = conv_norm(
        [], [constant("w", [[[[3.0]]], [[[5.0]]]])], [2.0, -1.5], norm_is_output=norm_is_output, bias=bias
    )
    before = run(model)

    assert fold_batch_norm(model.graph) == 1

    assert "BatchNormalization" not in [node.op_type for node in model.graph.node]
    assert np.allclose(run(model), before, atol=1e-5)


def test_folded_weight_and_bias_are_those_worked_out_by_hand() -> None:
    # factor = gain / sqrt(var): 2 / 2 = 1 and -1.5 / 0.5 = -3; bias = shift - mean * factor: 1 - 0.5, 2 - 1.5
    model = conv_norm([], [constant("w", [[[[3.0]]], [[[5.0]]]])], [2.0, -1.5])

    fold_batch_norm(model.graph)

    view = GraphView(model.graph)
    weight, bias = (view.constant(name) for name in model.graph.node[0].input[1:])
    assert weight is not None
    assert bias is not None
    assert weight.ravel().tolist() == [3.0, -15.0]
    assert bias.tolist() == [0.5, 0.5]


def int8_weight(integers: list[int]) -> tuple[list[NodeProto], list[TensorProto]]:
    node = helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0)
    tensors = [
        constant("q", np.reshape(integers, (2, 1, 1, 1)), np.int8),
        constant("s", [0.1, 0.2]),
        constant("z", [0, 0], np.int8),
    ]
    return [node], tensors


def test_norm_behind_int8_weights_goes_into_the_scales_and_signs() -> None:
    model = conv_norm(*int8_weight([7, 100]), [2.0, -1.5])
    before = run(model)

    assert fold_batch_norm(model.graph) == 1
    drop_unused(model.graph)

    view = GraphView(model.graph)
    integers, scales = (view.constant(name) for name in model.graph.node[0].input[:2])
    assert integers is not None
    assert scales is not None
    assert integers.ravel().tolist() == [7, -100]
    assert np.allclose(scales, [0.1, 0.6])
    assert np.allclose(run(model), before, atol=1e-5)


def test_norm_stays_where_a_flipped_minus_128_would_not_fit() -> None:
    model = conv_norm(*int8_weight([7, -128]), [2.0, -1.5])

    assert fold_batch_norm(model.graph) == 0
    assert "BatchNormalization" in [node.op_type for node in model.graph.node]


def test_norm_after_a_convolution_that_others_read_stays() -> None:
    model = conv_norm([], [constant("w", [[[[3.0]]], [[[5.0]]]])], [2.0, 1.0], norm_is_output=False)
    model.graph.node.append(helper.make_node("Relu", ["c"], ["z"]))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 2, 3, 3]))

    assert fold_batch_norm(model.graph) == 0
