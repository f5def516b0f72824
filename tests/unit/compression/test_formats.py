"""Number formats that the compiler carries out: what a candidate says about them and what it is refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edgefleet_compression.candidate import (
    OnnxCandidate,
    TorchCandidate,
    float_network,
    load_candidate,
    save_candidate,
)
from edgefleet_compression.context import Context
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import ModelFileInvalid, PassRefused
from edgefleet_compression.inspection import graph_precision
from edgefleet_compression.onnx_plan import OnnxCast, OnnxQuantization, parse_plan
from edgefleet_compression.passes.application import apply
from edgefleet_compression.passes.specs import ActivationFormat, AnyPass, Cast, Quantize, WeightFormat
from edgefleet_compression.precision import PRECISIONS, Precision
from edgefleet_compression.quantization.activations import ActivationFakeQuant
from edgefleet_compression.quantization.modules import QuantizedConv2d, QuantizedLinear

FORMATS: dict[Precision, AnyPass] = {
    "int8-dynamic": Quantize(activations=ActivationFormat(mode="dynamic")),
    "int8-weights": Quantize(activations=None),
    "int4-weights": Quantize(weights=WeightFormat(bits=4, granularity="block"), activations=None),
    "fp16": Cast(),
}
EVERY: dict[Precision, AnyPass] = {"int8": Quantize(), **FORMATS}
on_every_format = pytest.mark.parametrize("precision", list(EVERY))


def test_every_precision_but_fp32_has_a_pass() -> None:
    assert {"fp32", "int4", *EVERY} == set(PRECISIONS)  # int4 simulates in torch: test_activation_formats.py


@pytest.mark.parametrize("precision", list(FORMATS))
def test_network_stays_float_and_the_structure_says_the_format(
    candidate: TorchCandidate, data: DataSet, precision: Precision, tmp_path: Path
) -> None:
    made = apply(FORMATS[precision], candidate, Context(data, seed=0))
    assert isinstance(made, TorchCandidate)
    x = torch.from_numpy(data.test.x)
    assert torch.equal(made.model(x), candidate.model(x))
    loaded = load_candidate(save_candidate(made, tmp_path / "made.safetensors"))
    assert isinstance(loaded, TorchCandidate)
    assert (made.traits.precision, loaded.traits.precision) == (precision, precision)
    assert loaded.structure.simulated is None


@on_every_format
@pytest.mark.parametrize("second", [Quantize(), Quantize(activations=None), Cast()], ids=["int8", "weights", "fp16"])
def test_format_is_chosen_once(
    candidate: TorchCandidate, onnx_candidate: OnnxCandidate, data: DataSet, precision: Precision, second: AnyPass
) -> None:
    for start in (candidate, onnx_candidate):
        made = apply(EVERY[precision], start, Context(data, seed=0))
        with pytest.raises(PassRefused) as caught:
            apply(second, made, Context(data, seed=0))
        assert caught.value.code == "already_quantized"


def test_float_network_of_an_int8_candidate_has_plain_layers_and_nearly_its_outputs(
    candidate: TorchCandidate, data: DataSet
) -> None:
    made = apply(Quantize(), candidate, Context(data, seed=0))
    assert isinstance(made, TorchCandidate)
    before = {name: tensor.clone() for name, tensor in made.model.state_dict().items()}
    plain = float_network(made)
    simulated = (ActivationFakeQuant, QuantizedConv2d, QuantizedLinear, nn.BatchNorm2d)
    assert not [module for module in plain.modules() if isinstance(module, simulated)]
    assert torch.equal(plain.get_submodule("head").weight, made.model.get_submodule("head").weight)  # type: ignore[arg-type]
    x = torch.from_numpy(data.test.x)
    gap = ((plain(x) - made.model(x)).norm() / plain(x).norm()).detach()
    assert 0 < float(gap) < 0.1
    assert all(torch.equal(before[name], tensor) for name, tensor in made.model.state_dict().items())


def test_float_network_of_a_float_candidate_is_a_copy_of_its_network(candidate: TorchCandidate, data: DataSet) -> None:
    plain, x = float_network(candidate), torch.from_numpy(data.test.x)
    assert plain is not candidate.model
    assert torch.equal(plain(x), candidate.model(x))


@on_every_format
def test_plan_of_a_person_s_graph_survives_its_file(
    onnx_candidate: OnnxCandidate, data: DataSet, precision: Precision, tmp_path: Path
) -> None:
    made = apply(EVERY[precision], onnx_candidate, Context(data, seed=5))
    loaded = load_candidate(save_candidate(made, tmp_path / "made.onnx"))
    assert isinstance(loaded, OnnxCandidate)
    assert loaded.plan is not None
    plan = parse_plan(loaded.plan)
    assert plan.precision == loaded.traits.precision == precision
    if isinstance(plan, OnnxQuantization):
        assert (plan.calibration is not None) == (precision == "int8")
    else:
        assert plan == OnnxCast()


@pytest.mark.parametrize(
    "document",
    [
        {"method": "melt"},
        {"method": "cast", "dtype": "float8"},
        {"method": "post_training", "weights": {}, "activations": {}},
        {"method": "post_training", "weights": {"bits": 4}, "activations": {}, "calibration": None},
    ],
)
def test_plan_that_no_compiler_can_carry_out_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ModelFileInvalid) as caught:
        parse_plan(document)
    assert caught.value.code == "plan_invalid"


def graph_of(operators: list[str], weights: list[onnx.TensorProto]) -> onnx.ModelProto:
    nodes = [helper.make_node(name, ["x"], ["y"]) for name in operators]
    return helper.make_model(helper.make_graph(nodes, "graph", [], [], weights))


FLOAT = numpy_helper.from_array(np.zeros(2, np.float32), "float")
HALF = numpy_helper.from_array(np.zeros(2, np.float16), "half")
NIBBLES = helper.make_tensor("nibbles", TensorProto.INT4, [2], [1, -2])


@pytest.mark.parametrize(
    ("precision", "operators", "weights"),
    [
        ("fp32", ["Relu"], [FLOAT]),
        ("fp32", ["Relu"], [FLOAT, HALF]),
        ("fp16", ["Relu"], [HALF]),
        ("int8", ["QuantizeLinear", "DequantizeLinear"], [FLOAT]),
        ("int8-dynamic", ["DynamicQuantizeLinear", "MatMulInteger"], [FLOAT]),
        ("int8-weights", ["DequantizeLinear"], [FLOAT]),
        ("int4-weights", ["DequantizeLinear"], [FLOAT, NIBBLES]),
    ],
)
def test_graph_of_a_person_says_its_own_format(
    precision: Precision, operators: list[str], weights: list[onnx.TensorProto]
) -> None:
    assert graph_precision(graph_of(operators, weights)) == precision
