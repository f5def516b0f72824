"""Weight-only integers: the numbers worked out by hand, the sizes, and what onnxruntime computes from them."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.onnx_versions import min_version_of
from edgefleet_deploy.onnx_weights import pack_int4, store_weights_as_integers


def layer(op_type: str, weight: np.ndarray, *, opset: int = 21) -> ModelProto:
    shape = {"Conv": ["N", weight.shape[1], 6, 6], "Gather": ["N"]}.get(op_type)
    if shape is None:
        shape = ["N", weight.shape[1] if op_type == "Gemm" else weight.shape[0]]
    known: dict[str, dict[str, Any]] = {"Conv": {"pads": [1, 1, 1, 1]}, "Gemm": {"transB": 1}}
    attributes = known.get(op_type, {})
    names = ["w", "x"] if op_type == "Gather" else ["x", "w"]
    out = {"Conv": ["N", len(weight), 6, 6], "Gemm": ["N", len(weight)]}.get(op_type, ["N", weight.shape[1]])
    element = TensorProto.INT64 if op_type == "Gather" else TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(op_type, names, ["y"], **attributes)],
        "layer",
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def run(model: ModelProto, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    output: np.ndarray = session.run(None, {"x": x})[0]
    return output


def stored(model: ModelProto, element: int) -> onnx.TensorProto:
    found: onnx.TensorProto = next(item for item in model.graph.initializer if item.data_type == element)
    return found


def test_two_4_bit_integers_share_a_byte_low_half_first() -> None:
    # onnx.proto, INT4: "the first element in the 4 LSB"; -1 is 0b1111
    packed = pack_int4("w", np.array([[1, -1, 7]], np.int8))

    assert packed.raw_data == bytes([0xF1, 0x07])
    assert list(packed.dims) == [1, 3]
    assert numpy_helper.to_array(packed).astype(int).tolist() == [[1, -1, 7]]


@given(st.lists(st.integers(-8, 7), min_size=1, max_size=33))
def test_packed_integers_come_back(values: list[int]) -> None:
    array = np.array(values, np.int8)

    assert numpy_helper.to_array(pack_int4("w", array)).astype(int).tolist() == values


def test_int8_scales_are_the_largest_weight_of_a_channel_over_127() -> None:
    weight = np.zeros((2, 200))
    weight[0, :3], weight[1, :2] = (1.27, -0.63, 0.01), (-2.54, 1.0)
    model = layer("Gemm", weight)

    assert store_weights_as_integers(model, bits=8) == 1

    integers = numpy_helper.to_array(stored(model, TensorProto.INT8))
    assert integers[0, :3].tolist() == [127, -63, 1]
    assert integers[1, :2].tolist() == [-127, 50]
    assert np.allclose(numpy_helper.to_array(stored(model, TensorProto.FLOAT)), [0.01, 0.02])


def test_int4_scales_are_the_largest_weight_of_32_over_7() -> None:
    weight = np.zeros((8, 64))
    weight[0, :2], weight[0, 32:34] = (0.7, -0.3), (14.0, 2.9)
    model = layer("Gemm", weight)

    assert store_weights_as_integers(model, bits=4) == 1

    integers = numpy_helper.to_array(stored(model, TensorProto.INT4)).astype(int)
    scales = numpy_helper.to_array(stored(model, TensorProto.FLOAT))
    assert integers[0, :2].tolist() == [7, -3]
    assert integers[0, 32:34].tolist() == [7, 1]
    assert scales.shape == (8, 2)
    assert np.allclose(scales[0], [0.1, 2.0])


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(
    ("op_type", "shape"),
    [("MatMul", (70, 24)), ("Gemm", (24, 70)), ("Conv", (16, 5, 3, 3)), ("Gather", (50, 33))],
)
def test_onnxruntime_computes_what_the_rounded_weights_say(op_type: str, shape: tuple[int, ...], bits: int) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal(shape).astype(np.float32)
    x = {
        "Conv": rng.standard_normal((2, 5, 6, 6)).astype(np.float32),
        "Gather": np.array([3, 49]),
        "MatMul": rng.standard_normal((2, 70)).astype(np.float32),
        "Gemm": rng.standard_normal((2, 70)).astype(np.float32),
    }[op_type]
    exact, model = run(layer(op_type, weight), x), layer(op_type, weight)

    assert store_weights_as_integers(model, bits=8 if bits == 8 else 4) == 1

    onnx.checker.check_model(model, full_check=True)
    rounded = run(model, x)
    noise_db = 10 * np.log10(np.square(rounded - exact).mean() / np.square(exact).mean())
    # uniform rounding of standard-normal weights: step peak/127 or peak/7, peak about 2 to 3, noise step^2 / 12
    assert noise_db < (-40 if bits == 8 else -16)
    assert min_version_of(model) == ("1.18" if bits == 8 else "1.19")


def test_4_bits_are_an_eighth_of_the_float_weights_and_their_scales() -> None:
    weight = np.random.default_rng(0).standard_normal((256, 512))
    sizes = {}
    for bits in (8, 4):
        model = layer("Gemm", weight)
        store_weights_as_integers(model, bits=8 if bits == 8 else 4)
        sizes[bits] = len(model.SerializeToString())

    # 131072 weights: one byte each and 256 scales; half a byte each and 4096 scales of 4 bytes
    assert sizes[8] == pytest.approx(131072 + 1024, abs=400)
    assert sizes[4] == pytest.approx(65536 + 16384, abs=400)


def test_a_weight_that_would_save_nothing_stays_float() -> None:
    model = layer("Gemm", np.ones((2, 4)))

    assert store_weights_as_integers(model, bits=8) == 0
    assert store_weights_as_integers(model, bits=4) == 0


def test_a_weight_read_in_two_ways_stays_float() -> None:
    model = layer("MatMul", np.ones((64, 64)))
    model.graph.node.append(helper.make_node("Gemm", ["x", "w"], ["z"], transB=1))

    assert store_weights_as_integers(model, bits=8) == 0


def test_4_bits_below_opset_21_are_refused() -> None:
    with pytest.raises(CandidateRefused) as caught:
        store_weights_as_integers(layer("Gemm", np.ones((64, 64)), opset=20), bits=4)

    assert caught.value.code == "opset_too_old"
