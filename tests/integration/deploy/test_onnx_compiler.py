"""The ONNX compiler on people's own graphs: inputs, operators and opsets of all sorts."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from edgefleet_compression.candidate import OnnxCandidate
from edgefleet_compression.data.dataset import DataSet, Split
from edgefleet_compression.errors import ModelFileInvalid
from edgefleet_deploy.compiler import CompileContext
from edgefleet_deploy.errors import DataUnusable, ParityFailed
from edgefleet_deploy.onnx import OnnxCompiler
from edgefleet_deploy.onnx_optimization import optimize_graph
from edgefleet_deploy.targets import get_target

PLAN = {
    "version": 1,
    "method": "post_training",
    "weights": {},
    "activations": {},
    "calibration": {"n_samples": 64, "source": "random", "seed": 3},
}


def value(name: str, shape: list[int | str], element: int = TensorProto.FLOAT) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def weight(name: str, *shape: int) -> TensorProto:
    rng = np.random.default_rng(len(name) + sum(shape))
    return numpy_helper.from_array((0.3 * rng.standard_normal(shape)).astype(np.float32), name)


def model_of(
    nodes: list[NodeProto],
    inputs: list[ValueInfoProto],
    outputs: list[ValueInfoProto],
    tensors: list[TensorProto],
    *,
    opset: int = 13,
) -> ModelProto:
    graph = helper.make_graph(nodes, "own", inputs, outputs, tensors)
    ir_version = 7 if opset <= 13 else 8
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


@pytest.fixture
def context(tmp_path: Path) -> CompileContext:
    return CompileContext(target=get_target("onnxruntime"), work_dir=tmp_path, data=None, seed=0, threads=1)


def two_input_model() -> ModelProto:
    return model_of(
        [
            helper.make_node("MatMul", ["left", "wl"], ["a"]),
            helper.make_node("MatMul", ["right", "wr"], ["b"]),
            helper.make_node("Add", ["a", "b"], ["sum"]),
            helper.make_node("Relu", ["sum"], ["scores"]),
        ],
        [value("left", ["batch", 16]), value("right", ["batch", 24])],
        [value("scores", ["batch", 5])],
        [weight("wl", 16, 5), weight("wr", 24, 5)],
    )


def conv1d_model() -> ModelProto:
    return model_of(
        [
            helper.make_node("Conv", ["signal", "w"], ["c"], kernel_shape=[5], pads=[2, 2]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("MatMul", ["r", "m"], ["y"]),
        ],
        [value("signal", ["batch", 3, 40])],
        [value("y", ["batch", 8, 6])],
        [weight("w", 8, 3, 5), weight("m", 40, 6)],
    )


@pytest.mark.parametrize("plan", [None, PLAN], ids=["fp32", "int8"])
@pytest.mark.parametrize("make", [two_input_model, conv1d_model])
def test_several_inputs_matrix_products_and_1d_convolutions_compile(
    make: Any, plan: dict[str, Any] | None, context: CompileContext
) -> None:
    model = make()
    compiled = OnnxCompiler().compile(OnnxCandidate(model, plan), context)

    stored = onnx.load_from_string(compiled.payload)
    weights = {tensor.data_type for tensor in stored.graph.initializer if len(tensor.dims) >= 2}
    assert [spec.name for spec in compiled.inputs] == [item.name for item in model.graph.input]
    assert weights == {TensorProto.FLOAT if plan is None else TensorProto.INT8}


def test_arrays_of_a_data_set_go_to_the_inputs_of_their_names(context: CompileContext) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "left": rng.standard_normal((40, 16)).astype(np.float32),
        "right": rng.standard_normal((40, 24)).astype(np.float32),
    }
    split = Split(arrays, None)
    plan = {**PLAN, "calibration": {"n_samples": 30, "source": "train", "seed": 3}}
    data = DataSet("pairs", split, split, split)

    compiled = OnnxCompiler().compile(OnnxCandidate(two_input_model(), plan), replace(context, data=data))

    assert compiled.parity.samples == "validation"
    assert compiled.notes == ()


def test_a_data_set_without_the_input_is_refused(context: CompileContext) -> None:
    split = Split({"x": np.zeros((10, 16), np.float32)}, None)

    with pytest.raises(DataUnusable) as caught:
        OnnxCompiler().compile(
            OnnxCandidate(two_input_model()), replace(context, data=DataSet("one", split, split, split))
        )

    assert caught.value.code == "data_input_missing"


def test_operators_newer_than_the_target_keep_their_opset_and_say_which_runtime_they_need(
    context: CompileContext,
) -> None:
    model = model_of(
        [helper.make_node("LayerNormalization", ["x", "scale", "shift"], ["y"])],
        [value("x", ["batch", 12])],
        [value("y", ["batch", 12])],
        [weight("scale", 12), weight("shift", 12)],
        opset=17,
    )

    compiled = OnnxCompiler().compile(OnnxCandidate(model), context)

    assert (compiled.opset, compiled.ir_version, compiled.min_runtime_version) == (17, 8, "1.12")
    assert compiled.notes == ("opset_kept", "needs_newer_runtime")


def test_an_old_opset_is_raised_for_int8_and_kept_for_fp32(context: CompileContext) -> None:
    model = model_of(
        [helper.make_node("Gemm", ["x", "w", "b"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        [value("x", ["batch", 30])],
        [value("y", ["batch", 20])],
        [weight("w", 30, 20), weight("b", 20)],
        opset=11,
    )

    floating = OnnxCompiler().compile(OnnxCandidate(model), context)
    integer = OnnxCompiler().compile(OnnxCandidate(model, PLAN), context)

    assert (floating.opset, floating.ir_version) == (11, 7)
    assert (integer.opset, integer.ir_version) == (13, 7)


def test_a_file_that_is_quantized_already_is_only_made_lean(context: CompileContext) -> None:
    once = OnnxCompiler().compile(OnnxCandidate(conv1d_model(), PLAN), context)

    again = OnnxCompiler().compile(OnnxCandidate(onnx.load_from_string(once.payload)), context)

    assert again.precision == "int8"
    assert again.parity.reference == "the original ONNX file"
    assert again.payload == once.payload


def test_an_int8_file_that_is_not_smaller_says_so(context: CompileContext) -> None:
    # 20,000 outputs of one input each: 13 bytes of scale, zero point and bias per weight of one byte
    model = model_of(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1)],
        [value("x", ["batch", 1])],
        [value("y", ["batch", 20_000])],
        [weight("w", 20_000, 1), weight("b", 20_000)],
    )

    compiled = OnnxCompiler().compile(OnnxCandidate(model, PLAN), context)

    assert "int8_not_smaller" in compiled.notes


def test_a_graph_pass_that_changes_the_function_is_caught_before_the_file_ships(
    context: CompileContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sabotage(model: ModelProto, *, ir_version: int) -> None:
        optimize_graph(model, ir_version=ir_version)
        tensor = model.graph.initializer[0]
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.01), tensor.name))

    monkeypatch.setattr("edgefleet_deploy.onnx_own.optimize_graph", sabotage)

    with pytest.raises(ParityFailed) as caught:
        OnnxCompiler().compile(OnnxCandidate(conv1d_model()), context)

    assert caught.value.code == "parity_failed"
    assert caught.value.detail["outputs"][0]["max_diff_ratio"] > 1e-4


@pytest.mark.parametrize(
    "plan",
    [{**PLAN, "weights": {"bits": 4}}, {**PLAN, "colour": "red"}, {"version": 2}],
    ids=["bits", "field", "version"],
)
def test_a_plan_of_another_kind_is_refused(plan: dict[str, Any], context: CompileContext) -> None:
    with pytest.raises(ModelFileInvalid) as caught:
        OnnxCompiler().compile(OnnxCandidate(conv1d_model(), plan), context)

    assert caught.value.code == "plan_invalid"


def test_a_fixed_batch_is_kept_and_still_calibrated(context: CompileContext) -> None:
    model = model_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [value("x", [3, 16])],
        [value("y", [3, 5])],
        [weight("w", 16, 5)],
    )

    compiled = OnnxCompiler().compile(OnnxCandidate(model, PLAN), context)

    assert compiled.inputs[0].shape == (3, 16)
    assert compiled.parity.n_samples == 128
