"""Analysis of ONNX files that have no torch form: figures by hand, and what cannot be known."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgefleet_compression.analysis import Analysis, analyze_graph
from edgefleet_compression.candidate import OnnxCandidate
from edgefleet_compression.errors import PassRefused
from edgefleet_compression.onnx_stats import count_onnx_stats

SHAPE: list[int | str] = ["batch", 2, 4, 4]


def graph_of(
    *nodes: onnx.NodeProto, shape: list[int | str] | None = None, **weights: tuple[int, ...]
) -> onnx.ModelProto:
    """A graph from x to y with constants of ones."""
    constants = [numpy_helper.from_array(np.ones(dims, np.float32), name) for name, dims in weights.items()]
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape or SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def analysed(model: onnx.ModelProto) -> Analysis:
    return analyze_graph(OnnxCandidate(model), ("for the test",), ())


def test_transposed_convolution_multiplies_every_input_with_its_kernels() -> None:
    """2 x 4 x 4 numbers, each times 3 x 2 x 2 weights; alive at once: x with 32 numbers and y with 3 x 8 x 8."""
    found = analysed(graph_of(helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]), w=(2, 3, 2, 2)))
    assert (found.macs, found.layers[0].macs) == (32 * 12, 32 * 12)
    assert found.peak_activation_bytes == 4 * (32 + 192)
    # ones have rank 1: 2 + 12 numbers in place of 24
    assert found.layers[0].redundant_share == pytest.approx(1 - 14 / 24)


def test_a_value_lives_until_its_last_use() -> None:
    """x (32 numbers) is added at the end: it is alive beside a and b, which are alive together once."""
    nodes = (
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("Add", ["b", "x"], ["y"]),
    )
    assert analysed(graph_of(*nodes)).peak_activation_bytes == 4 * 3 * 32


def test_work_that_shapes_do_not_tell_is_not_guessed() -> None:
    model = graph_of(helper.make_node("Einsum", ["x", "w"], ["y"], equation="nchw,cd->ndhw"), w=(2, 5))
    found = analysed(model)
    assert (found.macs, found.unknown["macs"]) == (None, "macs_not_countable")
    assert count_onnx_stats(model).macs is None


def test_a_free_side_leaves_memory_unknown() -> None:
    found = analysed(graph_of(helper.make_node("Relu", ["x"], ["y"]), shape=["batch", 2, "height", "width"]))
    assert (found.peak_activation_bytes, found.unknown["peak_activation_bytes"]) == (None, "shape_unknown")


def test_an_integer_graph_is_refused() -> None:
    model = graph_of(
        helper.make_node("DequantizeLinear", ["q", "scale"], ["w"]),
        helper.make_node("Add", ["x", "w"], ["y"]),
        scale=(),
    )
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.int8), "q"))
    with pytest.raises(PassRefused) as caught:
        analysed(model)
    assert caught.value.code == "already_quantized"
