"""Operator tables of graphs small enough to count by hand."""

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgefleet_deploy.manifest import OperatorCost
from edgefleet_deploy.onnx_operators import count_operators


def weight(name: str, *shape: int, dtype: type = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.ones(shape, dtype), name)


def model_of(
    nodes: list[NodeProto], inputs: dict[str, list[int | str]], tensors: list[TensorProto], output_rank: int = 4
) -> ModelProto:
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * output_rank)]
    graph = helper.make_graph(nodes, "own", given, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


def cost(kind: str, macs: int, weight_bytes: int, activation_elements: int) -> OperatorCost:
    fields = {"kind": kind, "macs": macs, "weight_bytes": weight_bytes, "activation_elements": activation_elements}
    return OperatorCost.model_validate(fields)


@pytest.mark.parametrize(
    ("shape", "group", "channels", "expected"),
    [
        # 4x4 image, padding 1: 16 positions
        ((8, 16, 3, 3), 1, 16, cost("conv3x3", 16 * 8 * 16 * 9, 4 * 8 * 16 * 9, 16 * (16 + 8))),
        ((8, 3, 3, 3), 1, 3, cost("dense", 16 * 8 * 3 * 9, 4 * 8 * 3 * 9, 16 * (3 + 8))),
        ((16, 1, 3, 3), 16, 16, cost("depthwise", 16 * 16 * 9, 4 * 16 * 9, 16 * (16 + 16))),
    ],
)
def test_convolutions_are_counted_by_kind(
    shape: tuple[int, ...], group: int, channels: int, expected: OperatorCost
) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1], group=group)
    model = model_of([node], {"x": ["N", channels, 4, 4]}, [weight("w", *shape)])
    assert count_operators(model) == (expected,)


def test_pointwise_convolution_is_dense_and_its_bias_is_weight() -> None:
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"])
    model = model_of([node], {"x": [1, 16, 4, 4]}, [weight("w", 8, 16, 1, 1), weight("b", 8)])
    assert count_operators(model) == (cost("dense", 16 * 8 * 16, 4 * (8 * 16 + 8), 16 * (16 + 8)),)


def test_residual_addition_reads_both_and_activation_functions_are_free() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Add", ["x", "r"], ["y"])]
    assert count_operators(model_of(nodes, {"x": [1, 2, 4, 4]}, [])) == (cost("elementwise", 0, 0, 3 * 32),)


def test_product_of_two_activations_has_no_weights() -> None:
    model = model_of([helper.make_node("MatMul", ["x", "z"], ["y"])], {"x": ["N", 3, 4], "z": [1, 4, 5]}, [], 3)
    assert count_operators(model) == (cost("dense", 3 * 4 * 5, 0, 12 + 20 + 15),)


def test_quantized_weights_count_as_stored() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale"], ["w"]),
        helper.make_node("Gemm", ["x", "w"], ["y"], transB=1),
    ]
    tensors = [weight("q", 10, 6, dtype=np.int8), numpy_helper.from_array(np.array(0.5, np.float32), "scale")]
    model = model_of(nodes, {"x": ["N", 6]}, tensors, 2)
    assert count_operators(model) == (cost("dense", 60, 60, 16),)


def test_graph_with_unknown_shapes_has_no_table() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    assert count_operators(model_of([node], {"x": ["N", 8, "h", "w_"]}, [weight("w", 8, 8, 3, 3)])) is None
