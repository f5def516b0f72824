"""Float16 and dynamic int8 of small graphs."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.onnx_formats import convert_format, dynamic_share, sort_nodes


def two_layers(*, n_conv: int, n_dense: int, peak: float = 1.0) -> ModelProto:
    """Return Conv(n_conv kernels of 3x3), pooling, MatMul(n_dense weights)."""
    rng = np.random.default_rng(0)
    tensors = [
        numpy_helper.from_array((peak * rng.standard_normal((n_conv, 1, 3, 3))).astype(np.float32), "w"),
        numpy_helper.from_array(rng.standard_normal((n_conv, n_dense // n_conv)).astype(np.float32), "m"),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "m"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", n_dense // n_conv])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


def run(model: ModelProto) -> np.ndarray:
    x = np.random.default_rng(1).standard_normal((3, 1, 4, 4)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    output: np.ndarray = session.run(None, {"x": x})[0]
    return output


def test_float16_keeps_float32_inputs_and_outputs(tmp_path: Path) -> None:
    model = two_layers(n_conv=8, n_dense=256)
    exact = run(model)

    half = convert_format(model, "fp16", tmp_path)

    assert {value.type.tensor_type.elem_type for value in (*half.graph.input, *half.graph.output)} == {
        TensorProto.FLOAT
    }
    assert {tensor.data_type for tensor in half.graph.initializer if len(tensor.dims) > 1} == {TensorProto.FLOAT16}
    assert np.allclose(run(half), exact, atol=2e-2)
    assert (half.ir_version, [entry.version for entry in half.opset_import]) == (7, [13])


def test_a_weight_beyond_float16_is_refused_instead_of_becoming_infinite(tmp_path: Path) -> None:
    with pytest.raises(CandidateRefused) as caught:
        convert_format(two_layers(n_conv=8, n_dense=256, peak=1e6), "fp16", tmp_path)

    assert caught.value.code == "fp16_overflow"


def test_share_of_the_weights_in_matrix_products() -> None:
    assert dynamic_share(two_layers(n_conv=64, n_dense=1728)) == pytest.approx(0.75)  # 1728 of 576 + 1728


def test_dynamic_int8_stores_the_products_weights_as_integers(tmp_path: Path) -> None:
    model = two_layers(n_conv=8, n_dense=256)
    exact = run(model)

    dynamic = convert_format(model, "int8-dynamic", tmp_path)

    operators = {node.op_type for node in dynamic.graph.node}
    assert {"DynamicQuantizeLinear", "MatMulInteger", "Conv"} <= operators
    assert np.allclose(run(dynamic), exact, atol=0.05 * np.abs(exact).max())


def test_dynamic_int8_of_a_convolution_net_is_refused_with_its_share(tmp_path: Path) -> None:
    with pytest.raises(CandidateRefused) as caught:
        convert_format(two_layers(n_conv=64, n_dense=512), "int8-dynamic", tmp_path)

    assert caught.value.code == "dynamic_does_not_help"


def test_nodes_are_sorted_behind_what_they_read() -> None:
    model = two_layers(n_conv=8, n_dense=256)
    nodes = list(reversed(model.graph.node))
    del model.graph.node[:]
    model.graph.node.extend(nodes)

    sort_nodes(model.graph)

    assert [node.op_type for node in model.graph.node] == ["Conv", "GlobalAveragePool", "Flatten", "MatMul"]


def test_a_circle_is_refused() -> None:
    model = two_layers(n_conv=8, n_dense=256)
    model.graph.node[0].input[0] = "y"

    with pytest.raises(CandidateRefused):
        sort_nodes(model.graph)
