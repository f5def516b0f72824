from typing import Any

import numpy as np
import onnxruntime
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

from edgefleet_deploy.onnx_graph import GraphView
from edgefleet_deploy.onnx_optimization import optimize_graph
from edgefleet_deploy.onnx_quantization import INT32_LIMIT, quantize_linear

Array = NDArray[Any]


def constant(name: str, values: object, dtype: Any = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def quantized_conv(weight: Any, weight_scale: list[float], bias: list[float], input_scale: float = 0.5) -> ModelProto:
    """x -> Q -> DQ -> Conv(Q/DQ(weight), bias), as the exporter writes a fake-quantized convolution."""
    n_out = len(weight)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "sx", "zx"], ["xd"]),
        helper.make_node("QuantizeLinear", ["w", "sw", "zw"], ["wq"], axis=0),
        helper.make_node("DequantizeLinear", ["wq", "sw", "zw"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd", "b"], ["y"], kernel_shape=[2, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", n_out, 1, 1])],
        [
            constant("sx", input_scale),
            constant("zx", 0, np.uint8),
            constant("w", weight),
            constant("sw", weight_scale),
            constant("zw", np.zeros(n_out), np.int8),
            constant("b", bias),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


def optimized_constants(model: ModelProto) -> tuple[Array, Array, Array, Array]:
    optimize_graph(model, ir_version=7)
    checker.check_model(model, full_check=True)
    view = GraphView(model.graph)
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    weight, bias = (view.producers[name] for name in conv.input[1:3])
    values = [view.constant(name) for node in (weight, bias) for name in node.input[:2]]
    integers, scales, bias_integers, bias_scales = (value for value in values if value is not None)
    return integers, scales, bias_integers, bias_scales


def test_quantize_linear_gives_the_example_of_the_onnx_operator_page() -> None:
    # ONNX operators, QuantizeLinear, example "quantizelinear": scale 2, zero point 128
    values = np.array([0, 2, 3, 1000, -254, -1000], np.float32)

    integers = quantize_linear(values, np.asarray(2, np.float32), np.asarray(128, np.uint8))

    assert integers.tolist() == [128, 129, 130, 255, 1, 0]
    assert integers.dtype == np.uint8


def test_halves_round_to_the_even_integer() -> None:
    integers = quantize_linear(np.array([0.5, 1.5, 2.5, -0.5, -1.5]), np.asarray(1, np.float32), np.asarray(0, np.int8))

    assert integers.tolist() == [0, 2, 2, 0, -2]


@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=20), st.floats(0.125, 4, width=32))
def test_dequantized_value_is_at_most_half_a_step_away_inside_the_range(values: list[float], scale: float) -> None:
    inside = np.clip(np.array(values, np.float64), -127 * scale, 127 * scale)

    back = quantize_linear(inside, np.asarray(scale), np.asarray(0, np.int8)) * np.float64(scale)

    assert np.all(np.abs(back - inside) <= scale / 2 + 1e-12)


def test_a_2x2_convolution_is_folded_to_the_integers_worked_out_by_hand() -> None:
    # scale 0.1: 1.27 -> 12.7 -> 13, -0.64 -> -6.4 -> -6, 0.05 -> 0.5 -> 0 (even), 0.31 -> 3.1 -> 3
    # scale 0.25: 1 -> 4, -2 -> -8, 0.5 -> 2, 0.125 -> 0.5 -> 0 (even)
    # bias, scale 0.5 * scale: 0.33 / 0.05 = 6.6 -> 7, -1 / 0.125 = -8
    weight = [[[[1.27, -0.64], [0.049, 0.31]]], [[[1.0, -2.0], [0.5, 0.125]]]]
    model = quantized_conv(weight, [0.1, 0.25], [0.33, -1.0])

    integers, scales, bias, bias_scales = optimized_constants(model)

    assert integers.dtype == np.int8
    assert integers.reshape(2, 4).tolist() == [[13, -6, 0, 3], [4, -8, 2, 0]]
    assert np.allclose(scales, [0.1, 0.25])
    assert bias.dtype == np.int32
    assert bias.tolist() == [7, -8]
    assert np.allclose(bias_scales, [0.05, 0.125])


def test_the_folded_convolution_computes_the_product_worked_out_by_hand() -> None:
    # x = 1 -> 2 steps of 0.5; channel 0: (13 - 6 + 0 + 3) * 0.1 * 1 + 7 * 0.05 = 1.35
    # channel 1: (4 - 8 + 2 + 0) * 0.25 * 1 - 8 * 0.125 = -1.5
    weight = [[[[1.27, -0.64], [0.049, 0.31]]], [[[1.0, -2.0], [0.5, 0.125]]]]
    model = quantized_conv(weight, [0.1, 0.25], [0.33, -1.0])
    optimize_graph(model, ir_version=7)

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    output = session.run(None, {"x": np.ones((1, 1, 2, 2), np.float32)})[0]

    assert np.allclose(output.ravel(), [1.35, -1.5], atol=1e-6)


def test_a_dead_channel_with_an_ordinary_bias_keeps_its_bias() -> None:
    # 0.75 / (0.5 * 1e-12) is far beyond int32: the scale is widened until it fits
    model = quantized_conv(np.full((1, 1, 2, 2), 1e-10), [1e-12], [0.75])

    integers, _, bias, bias_scales = optimized_constants(model)

    assert np.abs(bias).max() <= INT32_LIMIT
    assert np.allclose(bias * bias_scales, [0.75], rtol=1e-6)
    assert integers.tolist() == [[[[0, 0], [0, 0]]]]


def test_a_transposed_weight_is_stored_transposed_with_its_scales_on_the_other_axis() -> None:
    weight = np.array([[1.0, 2.0, 3.0], [-4.0, 5.0, -6.0]], np.float32)
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"], axis=0),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], axis=0),
        helper.make_node("Transpose", ["d"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "matmul",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 2])],
        [constant("w", weight), constant("s", [1.0, 2.0]), constant("z", [0, 0], np.int8)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    optimize_graph(model, ir_version=7)

    assert [node.op_type for node in model.graph.node] == ["DequantizeLinear", "MatMul"]
    stored = GraphView(model.graph).constant(model.graph.node[0].input[0])
    assert stored is not None
    assert stored.tolist() == [[1, -2], [2, 2], [3, -3]]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    output = session.run(None, {"x": np.eye(4, 3, dtype=np.float32)[None]})[0]
    assert output[0, :3].tolist() == [[1, -4], [2, 4], [3, -6]]
