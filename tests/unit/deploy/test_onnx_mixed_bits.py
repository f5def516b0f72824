"""Files whose weights have different bits: by layer, and by output channel within one tensor."""

from pathlib import Path

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
from edgefleet_deploy.compiler import CompileContext
from edgefleet_deploy.errors import CandidateRefused
from edgefleet_deploy.litert import LitertCompiler
from edgefleet_deploy.onnx import OnnxCompiler
from edgefleet_deploy.onnx_weights import Grid, pack_int2, store_weights_as_integers
from edgefleet_deploy.targets import get_target

SCALES = np.array([0.5, 0.25, 0.125, 1.0] * 8, np.float32)
BITS = np.array([8, 4, 2, 8] * 8, np.int8)


@pytest.fixture(scope="module")
def weight() -> np.ndarray:
    """(32, 96): integers of each channel's bits times its scale."""
    rng = np.random.default_rng(0)
    largest = 2 ** (BITS.astype(int) - 1) - 1
    integers = np.stack([rng.integers(-limit, limit + 1, 96) for limit in largest])
    return (integers * SCALES[:, None]).astype(np.float32)


def product(weight: np.ndarray, *, opset: int = 21) -> ModelProto:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", weight.shape[1]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", len(weight)])],
        [numpy_helper.from_array(np.ascontiguousarray(weight.T), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10 if opset < 25 else 13)


def test_two_groups_of_channels_are_two_tensors_and_compute_the_same(weight: np.ndarray) -> None:
    model = product(weight)
    x = np.random.default_rng(1).normal(size=(3, 96)).astype(np.float32)

    store_weights_as_integers(model, bits=4, grids=[Grid(weight, SCALES, BITS)])
    onnx.checker.check_model(model)

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x})[0], x @ weight.T, rtol=1e-5, atol=1e-4)
    sizes = {item.data_type: list(item.dims) for item in model.graph.initializer}
    assert sizes[TensorProto.INT8] == [96, 16]
    assert sizes[TensorProto.INT4] == [96, 16]


def test_three_groups_of_channels_are_three_tensors_where_the_opset_has_two_bits(weight: np.ndarray) -> None:
    model = product(weight, opset=25)
    x = np.random.default_rng(1).normal(size=(3, 96)).astype(np.float32)

    store_weights_as_integers(model, bits=4, grids=[Grid(weight, SCALES, BITS)])
    onnx.checker.check_model(model)

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x})[0], x @ weight.T, rtol=1e-5, atol=1e-4)
    sizes = {item.data_type: list(item.dims) for item in model.graph.initializer}
    assert (sizes[TensorProto.INT8], sizes[TensorProto.INT4], sizes[TensorProto.INT2]) == ([96, 16], [96, 8], [96, 8])


@pytest.mark.parametrize("n", [4, 7])
def test_two_bits_are_packed_as_the_format_says(n: int) -> None:
    integers = np.array([1, -1, 0, -2, 1, 1, -1][:n])

    packed = pack_int2("w", integers)

    assert packed.raw_data[0] == 0b10_00_11_01  # onnx.proto: the first element in the lowest bits
    assert len(packed.raw_data) == (1 if n == 4 else 2)
    assert np.array_equal(numpy_helper.to_array(packed).astype(np.int64), integers)


def test_layer_of_eight_bits_in_a_file_of_four_keeps_them(weight: np.ndarray) -> None:
    model = product(weight)

    store_weights_as_integers(model, bits=4, grids=[Grid(weight, SCALES, np.full(32, 8))])

    assert TensorProto.INT4 not in {item.data_type for item in model.graph.initializer}
    stored = next(item for item in model.graph.initializer if item.data_type == TensorProto.INT8)
    assert np.array_equal(numpy_helper.to_array(stored) * SCALES, weight.T)


def test_litert_refuses_what_its_tool_would_round_to_one_precision(tmp_path: Path) -> None:
    data = tiny_data()
    spec = Quantize.model_validate({"weights": {"bits": 4}, "activations": None, "hybrid": {}})
    made = apply(spec, tiny_candidate(), Context(data, seed=0))

    with pytest.raises(CandidateRefused) as caught:
        LitertCompiler("litert").compile(made, CompileContext(get_target("litert"), tmp_path, data, 0, 1))

    assert caught.value.code == "mixed_bits_unsupported"


def compiled_bytes(tmp_path: Path, target: str = "onnxruntime-current", **options: object) -> tuple[int, float]:
    """Size of the file, and its largest difference from the simulation on the test split."""
    data = tiny_data()
    spec = Quantize.model_validate({"weights": {"bits": 4}, "activations": None, **options})
    made = apply(spec, tiny_candidate(), Context(data, seed=0))
    assert isinstance(made, TorchCandidate)
    tmp_path.mkdir()
    context = CompileContext(get_target(target), tmp_path, data, 0, 1)
    file = OnnxCompiler().compile(made, context)
    found = OnnxCompiler().open(file.payload, threads=1).run({"input": data.test.x})
    with torch.no_grad():
        wanted = made.model(torch.from_numpy(data.test.x)).numpy()
    return len(file.payload), float(np.abs(next(iter(found.values())) - wanted).max())


def test_file_holds_the_bits_that_were_chosen_and_computes_what_was_simulated(tmp_path: Path) -> None:
    """The tiny network has 19,216 weights: 0.3 of its channels at 8 bits cost 2.9 kB more than 4 bits throughout."""
    four, _ = compiled_bytes(tmp_path / "four")
    hybrid, hybrid_error = compiled_bytes(tmp_path / "hybrid", hybrid={"share": 0.3})
    allocated, allocated_error = compiled_bytes(tmp_path / "allocated", allocation={"size_bytes": 14_000})

    assert four + 2000 < hybrid < four + 6000
    assert four + 2000 < allocated < four + 6000
    assert max(hybrid_error, allocated_error) < 1e-4


@pytest.mark.parametrize("bits", [2, 1])
def test_two_bits_and_one_take_two_where_the_runtime_has_such_a_type(bits: int, tmp_path: Path) -> None:
    """19,216 weights: 4.8 kB of integers instead of 9.6."""
    four, _ = compiled_bytes(tmp_path / "four", weights={"bits": bits})
    two, error = compiled_bytes(tmp_path / "two", "onnxruntime-1.24", weights={"bits": bits})

    assert four - two == pytest.approx(19_216 / 4, abs=200)
    assert error < 1e-4
