"""Files that round activations to 4 bits: the integers are those of the type, the outputs those of the network."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgefleet_compression.candidate import TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import Quantize
from edgefleet_compression.testing import tiny_candidate, tiny_data
from edgefleet_deploy.compiler import CompileContext, CompiledFile
from edgefleet_deploy.onnx import OnnxCompiler
from edgefleet_deploy.onnx_narrow_activations import narrow_activations
from edgefleet_deploy.targets import get_target


def rounding(zero_point: np.ndarray) -> ModelProto:
    """x -> QuantizeLinear(scale 0.5) -> DequantizeLinear, by the type of the zero point."""
    constants = [numpy_helper.from_array(np.array(0.5, np.float32), "s"), numpy_helper.from_array(zero_point, "z")]
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
        ],
        "rounding",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize(
    ("zero_point", "expected"),
    [
        (np.uint8(3), [-1.5, -1.5, 0.0, 0.5, 6.0, 6.0]),  # 16 values from (0 - 3) / 2 to (15 - 3) / 2
        (np.int8(-5), [-1.5, -1.5, 0.0, 0.5, 6.0, 6.0]),  # from (-8 + 5) / 2 to (7 + 5) / 2
    ],
)
def test_values_saturate_at_the_ends_of_sixteen_integers(zero_point: Any, expected: list[float]) -> None:
    model = rounding(np.asarray(zero_point))

    assert narrow_activations(model) == 2

    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.array([-100, -1.6, 0.1, 0.6, 6.2, 100], np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], np.array(expected, np.float32))
    assert TensorProto.UINT8 not in {item.data_type for item in model.graph.initializer}


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("weight_bits", [4, 8])
def test_the_file_of_a_network_with_four_bit_activations_computes_what_the_simulation_does(
    tmp_path: Path, weight_bits: int, signed: bool
) -> None:
    candidate = quantized({"weights": {"bits": weight_bits}, "activations": {"bits": 4, "signed": signed}})

    compiled = written(candidate, tmp_path)

    data = tiny_data()
    loaded = OnnxCompiler().open(compiled.payload, threads=1)
    found = next(iter(loaded.run({loaded.inputs[0].name: data.test.x}).values()))
    with torch.no_grad():
        expected = candidate.model.eval()(torch.from_numpy(data.test.x)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    assert (compiled.precision, compiled.opset, compiled.min_runtime_version) == ("int4", 21, "1.19")
    model = onnx.load_from_string(compiled.payload)
    narrow = {TensorProto.INT4 if signed else TensorProto.UINT4}
    zero_points = {item.name: item.data_type for item in model.graph.initializer}
    assert {zero_points[node.input[2]] for node in model.graph.node if node.op_type == "QuantizeLinear"} == narrow


def test_four_bit_weights_beside_four_bit_activations_are_stored_in_half_a_byte(tmp_path: Path) -> None:
    both = written(quantized({"weights": {"bits": 4}, "activations": {"bits": 4}}), tmp_path)

    model = onnx.load_from_string(both.payload)
    stored = [item for item in model.graph.initializer if item.data_type == TensorProto.INT4 and len(item.dims) > 1]
    assert stored
    assert all(len(item.raw_data) == (int(np.prod(item.dims)) + 1) // 2 for item in stored)


def quantized(document: dict[str, Any]) -> TorchCandidate:
    made = apply(Quantize.model_validate(document), tiny_candidate(), Context(tiny_data(), seed=0))
    assert isinstance(made, TorchCandidate)
    assert made.traits.precision == "int4"
    return made


def written(candidate: TorchCandidate, work_dir: Path) -> CompiledFile:
    context = CompileContext(get_target("onnxruntime-current"), work_dir, tiny_data(), 0, 1)
    return OnnxCompiler().compile(candidate, context)
