"""Candidates of every form, small enough to compile in a second each."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgefleet_compression.candidate import Candidate, OnnxCandidate, TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.models.registry import build_model
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import Quantize
from edgefleet_compression.structure import InputSpec, Structure, TaskSpec

MakeCandidate = Callable[[], Candidate]


def make_torch() -> TorchCandidate:
    torch.manual_seed(0)
    arguments = {"n_classes": 4, "stem_width": 8, "widths": [8, 16], "blocks": [1, 1]}
    model = build_model("resnet", arguments).eval()
    structure = Structure(
        architecture="resnet",
        arguments=arguments,
        input=InputSpec(name="image", shape=(1, 8, 8)),
        task=TaskSpec(n_classes=4),
    )
    return TorchCandidate(model, structure)


def make_onnx_model() -> ModelProto:
    rng = np.random.default_rng(0)
    shapes = {"w1": (16, 1, 3, 3), "b1": (16,), "w2": (4, 1024), "b2": (4,)}
    tensors = [
        numpy_helper.from_array((0.1 * rng.standard_normal(shape)).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["image", "w1", "b1"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("Flatten", ["r"], ["f"]),
            helper.make_node("Gemm", ["f", "w2", "b2"], ["scores"], transB=1),
        ],
        "own",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 4])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


def quantized(candidate: Candidate) -> Candidate:
    return apply(Quantize(), candidate, Context(data=None, seed=1))


FORMS: dict[str, MakeCandidate] = {
    "torch-fp32": make_torch,
    "torch-int8": lambda: quantized(make_torch()),
    "onnx-fp32": lambda: OnnxCandidate(make_onnx_model()),
    "onnx-int8": lambda: quantized(OnnxCandidate(make_onnx_model())),
}


@pytest.fixture(params=sorted(FORMS))
def candidate(request: pytest.FixtureRequest) -> Candidate:
    return FORMS[request.param]()


@pytest.fixture
def broken_candidate() -> Candidate:
    """A network whose training diverged."""
    candidate = make_torch()
    with torch.no_grad():
        next(candidate.model.parameters()).fill_(float("nan"))
    return candidate
