"""Candidates of every form, small enough to compile in a second each."""

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import nn

from edgefleet_compression.candidate import Candidate, OnnxCandidate, TorchCandidate, Traits
from edgefleet_compression.context import Context
from edgefleet_compression.models.registry import build_model
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import ActivationFormat, Cast, Quantize, WeightFormat
from edgefleet_compression.structure import InputSpec, Structure, TaskSpec
from edgefleet_deploy import onnx_torch
from edgefleet_deploy.compiler import compiler_for
from edgefleet_deploy.onnx_export import export_traced
from edgefleet_deploy.targets import TARGETS

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


def quantized(candidate: Candidate, spec: Quantize | None = None) -> Candidate:
    return apply(spec or Quantize(), candidate, Context(data=None, seed=1))


FORMS: dict[str, MakeCandidate] = {
    "torch-fp32": make_torch,
    "torch-int8": lambda: quantized(make_torch()),
    "torch-int8-dynamic": lambda: quantized(make_torch(), Quantize(activations=ActivationFormat(mode="dynamic"))),
    "torch-int8-weights": lambda: quantized(make_torch(), Quantize(activations=None)),
    "torch-int4-weights": lambda: quantized(make_torch(), Quantize(activations=None, weights=WeightFormat(bits=4))),
    "torch-fp16": lambda: apply(Cast(), make_torch(), Context(data=None, seed=1)),
    "onnx-fp32": lambda: OnnxCandidate(make_onnx_model()),
    "onnx-fp16": lambda: apply(Cast(), OnnxCandidate(make_onnx_model()), Context(data=None, seed=1)),
    "onnx-int8-dynamic": lambda: quantized(
        OnnxCandidate(make_onnx_model()), Quantize(activations=ActivationFormat(mode="dynamic"))
    ),
    "onnx-int4-weights": lambda: quantized(
        OnnxCandidate(make_onnx_model()), Quantize(activations=None, weights=WeightFormat(bits=4))
    ),
    "onnx-int8": lambda: quantized(OnnxCandidate(make_onnx_model())),
}


TRAITS: dict[str, Traits] = {
    "torch-fp32": Traits("torch", "fp32"),
    "torch-int8": Traits("torch", "int8"),
    "torch-int8-dynamic": Traits("torch", "int8-dynamic"),
    "torch-int8-weights": Traits("torch", "int8-weights"),
    "torch-int4-weights": Traits("torch", "int4-weights"),
    "torch-fp16": Traits("torch", "fp16"),
    "onnx-fp32": Traits("onnx", "fp32"),
    "onnx-fp16": Traits("onnx", "fp16", has_plan=True),
    "onnx-int8-dynamic": Traits("onnx", "int8-dynamic", has_plan=True),
    "onnx-int4-weights": Traits("onnx", "int4-weights", has_plan=True),
    "onnx-int8": Traits("onnx", "int8", has_plan=True),
}
"""What each form's candidates are, known without making one."""


def is_accepted(target: str, form: str) -> bool:
    """Whether the target's compiler takes candidates of this form."""
    return compiler_for(TARGETS[target]).refuse(TRAITS[form], TARGETS[target]) is None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give ``pair`` every pair of target and form that is accepted, and ``refused_pair`` every one that is not."""
    pairs = [(target, form) for target in sorted(TARGETS) for form in sorted(FORMS)]
    for name, wanted in (("pair", True), ("refused_pair", False)):
        if name in metafunc.fixturenames:
            chosen = [pair for pair in pairs if is_accepted(*pair) is wanted]
            metafunc.parametrize(name, chosen, ids=["-".join(pair) for pair in chosen], scope="module")


@pytest.fixture(scope="session", autouse=True)
def exports_once() -> Iterator[None]:
    """Trace each network once per opset: torch.export takes seconds, and most formats begin with the same graph.

    That the exporter itself gives the same bytes twice is tested in test_architectures.py.
    """
    known: dict[tuple[str, int], bytes] = {}

    def export(model: nn.Module, spec: InputSpec, *, opset: int) -> ModelProto:
        weights = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
        key = (hashlib.sha256(weights).hexdigest(), opset)
        if key not in known:
            known[key] = export_traced(model, spec, opset=opset).SerializeToString()
        return onnx.load_from_string(known[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_torch, "export_traced", export)
        yield


@pytest.fixture(scope="session")
def forms() -> dict[str, MakeCandidate]:
    return FORMS


@pytest.fixture(scope="session")
def known_traits() -> dict[str, Traits]:
    return TRAITS


@pytest.fixture
def broken_candidate() -> Candidate:
    """A network whose training diverged."""
    candidate = make_torch()
    with torch.no_grad():
        next(candidate.model.parameters()).fill_(float("nan"))
    return candidate
