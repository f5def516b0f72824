"""The zoo's other architectures through the ONNX targets, in every format that fits them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import load_from_string

from edgefleet_compression.candidate import Candidate, TorchCandidate
from edgefleet_compression.context import Context
from edgefleet_compression.models.registry import build_model
from edgefleet_compression.passes.application import apply
from edgefleet_compression.precision import Precision
from edgefleet_compression.presets import PRESETS
from edgefleet_compression.structure import InputSpec, Structure, TaskSpec
from edgefleet_deploy.compiler import CompileContext, CompiledFile, compiler_for
from edgefleet_deploy.onnx_export import export_traced
from edgefleet_deploy.targets import get_target

MOBILENET = {"n_classes": 4, "form": "cifar", "width_multiplier": 0.25, "blocks": (1, 1, 1, 1, 1, 1, 1)}
TRANSFORMER = {"n_classes": 4, "vocabulary": 64, "length": 16, "width": 64, "feed_forward": 128}


def make_candidate(architecture: str) -> TorchCandidate:
    torch.manual_seed(0)
    is_text = architecture == "transformer"
    arguments = TRANSFORMER if is_text else MOBILENET
    tokens = InputSpec(name="tokens", shape=(16,), dtype="int64", n_values=64)
    spec = tokens if is_text else InputSpec(name="image", shape=(3, 16, 16))
    structure = Structure(architecture=architecture, arguments=arguments, input=spec, task=TaskSpec(n_classes=4))
    return TorchCandidate(build_model(architecture, arguments).eval(), structure)


def compile_for(architecture: str, target_name: str, precision: Precision, folder: Path) -> CompiledFile:
    candidate: Candidate = make_candidate(architecture)
    if precision != "fp32":
        for step in PRESETS[precision].passes:
            candidate = apply(step, candidate, Context(data=None, seed=1))
    target = get_target(target_name)
    context = CompileContext(target=target, work_dir=folder, data=None, seed=0, threads=1)
    return compiler_for(target).compile(candidate, context)


# least signal-to-noise ratio against the float network, dB: half of the worst seen on these networks, so that a wrong
# scale or axis (which costs 30 dB or more) fails and another version's rounding does not
CASES: list[tuple[str, str, Precision, float]] = [
    ("mobilenet_v2", "onnxruntime", "fp16", 35.0),
    ("mobilenet_v2", "onnxruntime", "int8-weights", 20.0),
    ("mobilenet_v2", "onnxruntime-current", "int8", 10.0),
    ("mobilenet_v2", "tensorrt-10.3", "int8", 10.0),
    ("transformer", "onnxruntime-current", "fp16", 35.0),
    ("transformer", "onnxruntime-current", "int8-dynamic", 20.0),
    ("transformer", "onnxruntime-current", "int8-weights", 20.0),
    ("transformer", "onnxruntime-current", "int4-weights", 5.0),
    ("transformer", "onnxruntime", "int8-dynamic", 20.0),
]


@pytest.mark.parametrize(("architecture", "target", "precision", "least_db"), CASES)
def test_network_keeps_its_outputs_in_this_format(
    architecture: str, target: str, precision: Precision, least_db: float, tmp_path: Path
) -> None:
    compiled = compile_for(architecture, target, precision, tmp_path)

    assert compiled.precision == precision
    assert compiled.float_snr_db is not None
    assert compiled.float_snr_db > least_db
    assert compiled.golden is not None
    assert compiled.inputs[0].dtype == ("int64" if architecture == "transformer" else "float32")
    assert compiled.graph is not None
    assert compiled.graph.layout == ("none" if architecture == "transformer" else "NCHW")
    assert sum(compiled.graph.operators_after.values()) == len(load_from_string(compiled.payload).graph.node)


def test_the_tracing_exporter_gives_the_same_bytes_twice() -> None:
    candidate = make_candidate("transformer")

    graphs = [export_traced(candidate.model, candidate.structure.input, opset=21).graph for _ in range(2)]

    names = [[node.op_type for node in graph.node] for graph in graphs]
    tensors = [[(item.name, bytes(item.raw_data)) for item in graph.initializer] for graph in graphs]
    assert names[0] == names[1]
    assert tensors[0] == tensors[1]
    assert np.all([value.name == "tokens" for graph in graphs for value in graph.input])
