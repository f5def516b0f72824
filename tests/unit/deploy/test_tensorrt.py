"""What TensorRT takes: symmetric int8, constant scales, operators its parser has."""

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.manifest import TensorSpec
from edgefleet_deploy.onnx_graph import GraphView
from edgefleet_deploy.targets import TARGETS
from edgefleet_deploy.tensorrt import build_plan
from edgefleet_deploy.tensorrt_operators import unsupported_operators
from edgefleet_deploy.tensorrt_plans import PLANS
from edgefleet_deploy.tensorrt_quantization import make_symmetric, refuse_asymmetric

IMAGE = TensorSpec(name="image", shape=("N", 3, 32, 32), dtype="float32")


def activation_pair(zero_point: np.ndarray, scale: float = 0.1) -> ModelProto:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "pair",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.asarray(scale, np.float32), "s"), numpy_helper.from_array(zero_point, "z")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


def scale_and_zero(model: ModelProto) -> tuple[float, np.ndarray]:
    view = GraphView(model.graph)
    scale, zero = (view.constant(name) for name in model.graph.node[0].input[1:])
    assert scale is not None
    assert zero is not None
    return float(scale), zero


@pytest.mark.parametrize(
    ("zero_point", "peak"),
    # scale 0.1: uint8 with zero point 0 covers 0 to 25.5; with 100 it covers -10 to 15.5; int8 with -28 covers -10 to 15.5
    [(np.uint8(0), 25.5), (np.uint8(100), 15.5), (np.int8(-28), 15.5), (np.uint8(200), 20.0)],
)
def test_a_range_becomes_symmetric_around_its_larger_side(zero_point: np.generic, peak: float) -> None:
    model = activation_pair(np.asarray(zero_point))

    assert make_symmetric(model) == 2

    scale, zero = scale_and_zero(model)
    assert scale == pytest.approx(peak / 127)
    assert (zero.dtype.name, int(zero)) == ("int8", 0)
    assert list(model.graph.node[0].input[1:]) == list(model.graph.node[1].input[1:])
    refuse_asymmetric(model)


def test_a_symmetric_pair_is_left_alone() -> None:
    model = activation_pair(np.asarray(0, np.int8))

    assert make_symmetric(model) == 0
    assert scale_and_zero(model)[0] == pytest.approx(0.1)


@pytest.mark.parametrize("zero_point", [np.uint8(0), np.int8(3)])
def test_asymmetric_integers_are_refused_before_the_device_would(zero_point: np.generic) -> None:
    with pytest.raises(CandidateRefused) as caught:
        refuse_asymmetric(activation_pair(np.asarray(zero_point)))

    assert caught.value.code == "asymmetric_quantization"


@pytest.mark.parametrize("element", [np.int8, np.int32])
def test_stored_integers_are_refused_because_the_8_x_parser_takes_none(element: type) -> None:
    model = activation_pair(np.asarray(0, np.int8))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(4, element), "w"))
    model.graph.node.append(helper.make_node("DequantizeLinear", ["w", "s", "z"], ["d"]))

    with pytest.raises(CandidateRefused) as caught:
        refuse_asymmetric(model)

    assert caught.value.code == "asymmetric_quantization"


def test_every_tensorrt_target_has_a_plan_and_only_the_newest_is_strongly_typed() -> None:
    targets = {target.name for target in TARGETS.values() if target.runtime == "tensorrt"}

    assert targets == set(PLANS)
    assert [name for name, plan in PLANS.items() if plan.strongly_typed] == ["tensorrt"]


def test_jetson_nano_gets_no_int8_because_its_gpu_has_none() -> None:
    assert TARGETS["tensorrt-8.2"].boards == ("jetson-nano",)
    assert TARGETS["tensorrt-8.2"].precisions == ("fp32", "fp16")


def test_halves_are_a_builder_flag_before_strong_typing() -> None:
    plan = build_plan(PLANS["tensorrt-8.2"], "fp16", (IMAGE,))

    assert (plan.flags, plan.strongly_typed, plan.min_version, plan.max_version) == (("fp16",), False, "8.2", "9")
    assert plan.shapes["image"].min == (1, 3, 32, 32)
    assert plan.shapes["image"].max == (8, 3, 32, 32)
    assert build_plan(PLANS["tensorrt"], "fp16", (IMAGE,)).flags == ()


def test_a_fixed_batch_is_the_only_shape_of_its_plan() -> None:
    fixed = TensorSpec(name="x", shape=(4, 7), dtype="float32")

    shapes = build_plan(PLANS["tensorrt-10.3"], "int8", (fixed,)).shapes["x"]

    assert shapes.min == shapes.opt == shapes.max == (4, 7)


def test_operators_of_the_vendors_matrix_marked_n_are_refused() -> None:
    assert unsupported_operators(frozenset({"Conv", "Relu", "Softmax"}), before_10=True) == frozenset()
    assert unsupported_operators(frozenset({"Conv", "OneHot", "MatMulInteger"}), before_10=True) == {
        "OneHot",
        "MatMulInteger",
    }
    assert unsupported_operators(frozenset({"OneHot"}), before_10=False) == frozenset()
