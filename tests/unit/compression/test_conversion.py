"""A person's ONNX graph as a torch network. The reference is always onnxruntime on the graph itself."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from pydantic import TypeAdapter
from safetensors.torch import save_file

from edgefleet_compression.candidate import OnnxCandidate, TorchCandidate, load_candidate, save_candidate
from edgefleet_compression.context import Context
from edgefleet_compression.conversion import convert
from edgefleet_compression.conversion.convert import PARITY_TOLERANCE, convert_onnx
from edgefleet_compression.conversion.importer import find_obstacles
from edgefleet_compression.data.dataset import DataSet
from edgefleet_compression.errors import ModelFileInvalid, PassRefused
from edgefleet_compression.inspection import inspect_model_file
from edgefleet_compression.models.registry import build_model
from edgefleet_compression.passes.application import apply, run_recipe
from edgefleet_compression.passes.specs import AnyPass
from edgefleet_compression.recipe import Recipe
from edgefleet_compression.structure import InputSpec, parse_structure
from edgefleet_compression.testing import tiny_data, tiny_onnx
from edgefleet_deploy.onnx_export import export_scripted

_PASS: TypeAdapter[AnyPass] = TypeAdapter(AnyPass)
IMAGE = ("n", 4, 8, 8)
Node = tuple[str, Sequence[str], str, Mapping[str, Any]]


def graph(
    nodes: Sequence[Node],
    constants: Mapping[str, Any],
    *,
    shape: Sequence[int | str] = IMAGE,
    opset: int = 13,
    element: int = TensorProto.FLOAT,
    output: str = "y",
    n_classes: int = 3,
) -> onnx.ModelProto:
    made = helper.make_graph(
        [helper.make_node(kind, list(inputs), [name], **attributes) for kind, inputs, name, attributes in nodes],
        "own",
        [helper.make_tensor_value_info("x", element, list(shape))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [shape[0], n_classes])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def with_head(nodes: Sequence[Node], constants: Mapping[str, Any], width: int, **options: Any) -> onnx.ModelProto:
    """A graph whose last node is flattened and goes to a linear layer of three classes."""
    weight = np.random.default_rng(1).normal(size=(width, 3)).astype(np.float32)
    tail: list[Node] = [("Flatten", [nodes[-1][2]], "flat", {}), ("MatMul", ["flat", "head"], "y", {})]
    return graph([*nodes, *tail], {**constants, "head": weight}, **options)


def normal(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def assert_same(model: onnx.ModelProto, candidate: TorchCandidate) -> None:
    """Compared on samples of its own, in a batch of another size than the conversion's."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(5, *candidate.structure.input.shape)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"x": x})
    with torch.no_grad():
        found = candidate.model(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, wanted, atol=PARITY_TOLERANCE * np.abs(wanted).max(), rtol=0)


CONV = normal(6, 4, 3, 3)
SINGLE: dict[str, tuple[Sequence[Node], Mapping[str, Any], int, dict[str, Any]]] = {
    "conv-strided": ([("Conv", ["x", "w"], "a", {"pads": [1, 1, 1, 1], "strides": [2, 2]})], {"w": CONV}, 96, {}),
    "conv-uneven": ([("Conv", ["x", "w"], "a", {"pads": [0, 0, 1, 2]})], {"w": CONV}, 6 * 7 * 8, {}),
    "conv-same": ([("Conv", ["x", "w"], "a", {"auto_pad": "SAME_LOWER", "strides": [2, 1]})], {"w": CONV}, 192, {}),
    "conv-dilated": ([("Conv", ["x", "w"], "a", {"dilations": [2, 2]})], {"w": CONV}, 96, {}),
    "conv-depthwise": ([("Conv", ["x", "w"], "a", {"group": 4})], {"w": normal(4, 1, 3, 3)}, 144, {}),
    "conv-line": ([("Conv", ["x", "w"], "a", {"strides": [2]})], {"w": normal(6, 4, 3)}, 18, {"shape": ("n", 4, 8)}),
    "batchnorm": (
        [("BatchNormalization", ["x", "s", "b", "m", "v"], "a", {"epsilon": 1e-3})],
        {"s": normal(4), "b": normal(4), "m": normal(4), "v": np.abs(normal(4))},
        256,
        {},
    ),
    "clip": ([("Clip", ["x", "low", "high"], "a", {})], {"low": np.float32(-0.5), "high": np.float32(1)}, 256, {}),
    "relu6": ([("Clip", ["x"], "a", {"min": 0.0, "max": 6.0})], {}, 256, {"opset": 10}),
    **{
        kind: ([(kind, ["x"], "a", {})], {}, 256, {"opset": 20})
        for kind in (
            "Sigmoid",
            "Tanh",
            "HardSwish",
            "HardSigmoid",
            "Gelu",
            "LeakyRelu",
            "Elu",
            "Softplus",
            "Exp",
            "Erf",
        )
    },
    "softmax": ([("Softmax", ["x"], "a", {"axis": 1})], {}, 256, {}),
    "maxpool": (
        [
            ("Relu", ["x"], "r", {}),
            ("MaxPool", ["r"], "a", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}),
        ],
        {},
        64,
        {},
    ),
    "avgpool": (
        [("AveragePool", ["x"], "a", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 0})],
        {},
        256,
        {},
    ),
    "global-max": ([("GlobalMaxPool", ["x"], "a", {})], {}, 4, {}),
    "reduce-mean": ([("ReduceMean", ["x"], "a", {"axes": [2, 3], "keepdims": 0})], {}, 4, {}),
    "pad": ([("Pad", ["x", "p"], "a", {})], {"p": np.array([0, 0, 1, 2, 0, 0, 0, 1])}, 4 * 9 * 11, {}),
    "layernorm": (
        [("LayerNormalization", ["x", "s", "b"], "a", {})],
        {"s": normal(8), "b": normal(8)},
        256,
        {"opset": 17},
    ),
    "transpose-slice": (
        [
            ("Transpose", ["x"], "t", {"perm": [0, 2, 3, 1]}),
            ("Slice", ["t", "from", "to", "axes", "steps"], "a", {}),
        ],
        {"from": np.array([1]), "to": np.array([-1]), "axes": np.array([2]), "steps": np.array([2])},
        96,
        {},
    ),
    "gather-concat": (
        [("Gather", ["x", "i"], "g", {"axis": 1}), ("Concat", ["g", "x"], "a", {"axis": 1})],
        {"i": np.array([3, -4])},
        384,
        {},
    ),
    "squeeze": (
        [
            ("Gather", ["x", "i"], "g", {"axis": 1}),
            ("Unsqueeze", ["g", "axes"], "u", {}),
            ("Squeeze", ["u", "axes"], "a", {}),
        ],
        {"i": np.array(2), "axes": np.array([1])},
        64,
        {},
    ),
    "arithmetic": (
        [("Mul", ["x", "k"], "m", {}), ("Sub", ["one", "m"], "s", {}), ("Div", ["s", "two"], "a", {})],
        {"k": normal(4, 1, 1), "one": np.float32(1), "two": np.array([2], np.float32)},
        256,
        {},
    ),
}


@pytest.mark.parametrize("name", list(SINGLE))
def test_operator_gives_what_onnxruntime_gives(name: str) -> None:
    nodes, constants, width, options = SINGLE[name]
    model = with_head(nodes, constants, width, **options)
    onnx.checker.check_model(model)
    assert_same(model, convert_onnx(OnnxCandidate(model)).candidate)


def test_linear_layer_takes_over_the_sum_and_the_batchnorm_after_it() -> None:
    statistics = {"s": normal(6), "b": normal(6), "m": normal(6), "v": np.abs(normal(6))}
    model = graph(
        [
            ("MatMul", ["x", "w"], "h", {}),
            ("Add", ["h", "c"], "i", {}),
            ("BatchNormalization", ["i", "s", "b", "m", "v"], "j", {}),
            ("Gemm", ["j", "o"], "y", {"alpha": 0.5}),
        ],
        {"w": normal(4, 6), "c": normal(6) + 1, "o": normal(6, 3), **statistics},
        shape=("n", 4),
    )
    candidate = convert_onnx(OnnxCandidate(model)).candidate
    assert [node["op"] for node in candidate.structure.arguments["nodes"]] == ["linear", "linear"]
    assert_same(model, candidate)


def test_shape_arithmetic_of_a_free_batch_is_worked_out() -> None:
    """What exporters write for ``x.view(x.size(0), -1)``."""
    nodes: list[Node] = [
        ("Shape", ["x"], "shape", {}),
        ("Gather", ["shape", "zero"], "n", {"axis": 0}),
        ("Unsqueeze", ["n", "axes"], "n1", {}),
        ("Concat", ["n1", "rest"], "target", {"axis": 0}),
        ("Reshape", ["x", "target"], "flat", {}),
        ("MatMul", ["flat", "w"], "y", {}),
    ]
    constants = {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1]), "w": normal(256, 3)}
    model = graph(nodes, constants)
    candidate = convert_onnx(OnnxCandidate(model)).candidate
    assert [node["op"] for node in candidate.structure.arguments["nodes"]] == ["flatten", "linear"]
    assert_same(model, candidate)


def test_batch_written_down_as_one_becomes_free() -> None:
    model = graph(
        [("Reshape", ["x", "target"], "flat", {}), ("MatMul", ["flat", "w"], "y", {})],
        {"target": np.array([1, 256]), "w": normal(256, 3)},
        shape=(1, 4, 8, 8),
    )
    candidate = convert_onnx(OnnxCandidate(model)).candidate
    assert candidate.model(torch.zeros(5, 4, 8, 8)).shape == (5, 3)


def test_final_softmax_is_left_out_and_named() -> None:
    model = graph(
        [("Flatten", ["x"], "f", {}), ("MatMul", ["f", "w"], "s", {}), ("Softmax", ["s"], "y", {"axis": 1})],
        {"w": normal(256, 3)},
    )
    conversion = convert_onnx(OnnxCandidate(model))
    assert conversion.notes == ("converted_from_onnx", "final_softmax_removed")
    assert conversion.candidate.structure.arguments["output"].startswith("w_")


ZOO: dict[str, dict[str, Any]] = {
    "convnet": {"widths": [8, 8], "convolution": "separable", "in_channels": 1, "n_classes": 4},
    "transformer": {
        "vocabulary": 16,
        "length": 8,
        "width": 16,
        "n_heads": 2,
        "n_layers": 1,
        "feed_forward": 32,
        "n_classes": 4,
    },
}


@pytest.mark.parametrize("architecture", list(ZOO))
def test_exported_network_comes_back_and_is_saved_and_restored(architecture: str, tmp_path: Path) -> None:
    network = build_model(architecture, ZOO[architecture]).eval()
    is_text = architecture == "transformer"
    spec = InputSpec(shape=(8,), dtype="int64", n_values=16) if is_text else InputSpec(shape=(1, 8, 8))
    converted = convert_onnx(OnnxCandidate(export_scripted(network, spec, opset=13))).candidate
    x = torch.randint(0, 16, (3, 8)) if is_text else torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(converted.model(x), network(x), atol=1e-4, rtol=1e-4)
    assert converted.structure.input.n_values == (16 if is_text else None)
    first = save_candidate(converted, tmp_path / "a.safetensors")
    restored = load_candidate(first)
    assert save_candidate(restored, tmp_path / "b.safetensors").read_bytes() == first.read_bytes()
    assert isinstance(restored, TorchCandidate)
    assert torch.equal(restored.model(x), converted.model(x))
    assert inspect_model_file(first).architecture == "onnx_graph"


PASSES: dict[str, dict[str, Any]] = {
    "structured": {"kind": "structured_prune", "amount": 0.5, "round_to": 1, "min_channels": 1},
    "weights": {"kind": "prune_weights", "amount": 0.5},
    "low-rank": {"kind": "low_rank", "energy": 0.3},
    "lottery": {"kind": "lottery_ticket", "amount": 0.5, "rounds": 1, "budget": {"steps": 2}},
    "quantize": {"kind": "quantize"},
    "train": {"kind": "train", "budget": {"steps": 2}, "ingredients": [{"kind": "distill", "teacher": "fixed"}]},
    "fake-quant": {"kind": "train", "budget": {"steps": 2}, "ingredients": [{"kind": "fake_quant"}]},
}


@pytest.fixture(scope="module")
def images() -> DataSet:
    return tiny_data(n_samples=60)


@pytest.fixture(scope="module")
def converted() -> TorchCandidate:
    return convert_onnx(OnnxCandidate(tiny_onnx())).candidate


@pytest.mark.parametrize("name", list(PASSES))
def test_every_pass_works_on_a_converted_graph_and_its_result_is_restored(
    name: str, converted: TorchCandidate, images: DataSet, tmp_path: Path
) -> None:
    spec = _PASS.validate_python(PASSES[name])
    made = apply(spec, converted, Context(images, seed=3, reference=converted))
    assert isinstance(made, TorchCandidate)
    path = save_candidate(made, tmp_path / "made.safetensors")
    again = apply(spec, converted, Context(images, seed=3, reference=converted))
    assert save_candidate(again, tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    restored = load_candidate(path)
    assert isinstance(restored, TorchCandidate)
    x = torch.from_numpy(images.test.x)
    assert torch.equal(restored.model(x), made.model(x))


def test_recipe_with_training_converts_and_one_without_keeps_the_file(images: DataSet) -> None:
    candidate = OnnxCandidate(tiny_onnx())
    prune, quantize = (_PASS.validate_python(PASSES[name]) for name in ("structured", "quantize"))
    outcome = run_recipe(Recipe(name="a", passes=(prune, quantize)), candidate, data=images, seed=0)
    assert outcome.candidate.traits.form == "torch"
    assert outcome.candidate.traits.precision == "int8"
    assert outcome.notes[0] == "converted_from_onnx"
    assert outcome.conversion_difference is not None
    assert outcome.conversion_difference < PARITY_TOLERANCE
    assert [record.spec.kind for record in outcome.records] == ["structured_prune", "quantize"]
    assert outcome.candidate.history[0].notes[0] == "converted_from_onnx"
    kept = run_recipe(Recipe(name="b", passes=(quantize,)), candidate, data=images, seed=0)
    assert kept.candidate.traits.form == "onnx"
    assert kept.conversion_difference is None


def test_channels_that_a_reshape_counts_on_are_kept(images: DataSet) -> None:
    model = graph(
        [
            ("Conv", ["x", "w"], "a", {"pads": [1, 1, 1, 1]}),
            ("Relu", ["a"], "r", {}),
            ("Conv", ["r", "v"], "b", {"pads": [1, 1, 1, 1]}),
            ("Reshape", ["b", "heads"], "h", {}),
            ("ReduceMean", ["h"], "m", {"axes": [1, 3], "keepdims": 0}),
            ("MatMul", ["m", "o"], "y", {}),
        ],
        {"w": normal(8, 1, 3, 3), "v": normal(8, 8, 3, 3), "heads": np.array([-1, 2, 4, 64]), "o": normal(4, 3)},
        shape=("n", 1, 8, 8),
    )
    candidate = convert_onnx(OnnxCandidate(model)).candidate
    made = apply(_PASS.validate_python(PASSES["structured"]), candidate, Context(None, seed=0))
    assert isinstance(made, TorchCandidate)
    assert [shape.n_out for shape in made.structure.layers.values()] == [4, 8, 3]
    assert [skip.reason for skip in made.history[-1].skipped if skip.layer.startswith("v_")] == [
        f"the graph counts on the number of channels of {list(made.structure.layers)[1]}"
    ]


def test_student_of_the_graphs_family_is_refused_with_the_way_out(converted: TorchCandidate, images: DataSet) -> None:
    spec = _PASS.validate_python({"kind": "train", "budget": {"steps": 1}, "student": {"width_ratio": 0.5}})
    with pytest.raises(PassRefused, match="architecture") as caught:
        apply(spec, converted, Context(images, seed=0, reference=converted))
    assert caught.value.code == "no_family"


def test_constants_without_known_initial_values_are_not_drawn_anew(images: DataSet) -> None:
    nodes: list[Node] = [("Mul", ["x", "k"], "a", {})]
    nodes += [("Flatten", ["a"], "f", {}), ("MatMul", ["f", "w"], "y", {})]
    constants = {"k": normal(1, 8, 8), "w": normal(64, 4)}
    model = graph(nodes, constants, shape=("n", 1, 8, 8), n_classes=4)
    candidate = convert_onnx(OnnxCandidate(model)).candidate
    with pytest.raises(PassRefused) as caught:
        apply(_PASS.validate_python(PASSES["lottery"]), candidate, Context(images, seed=0))
    assert caught.value.code == "initial_weights_unknown"


OBSTACLES: dict[str, tuple[onnx.ModelProto, str]] = {
    "operator": (with_head([("Selu", ["x"], "a", {})], {}, 256), "operator Selu has no plain layer"),
    "weights": (
        with_head([("MatMul", ["x", "x"], "m", {}), ("Conv", ["m", "m"], "a", {})], {}, 256, shape=("n", 8, 8, 8)),
        "its weight is computed by the graph",
    ),
    "free-side": (with_head([("Relu", ["x"], "a", {})], {}, 256, shape=("n", 4, "h", 8)), "leaves a dimension"),
    "output": (graph([("Relu", ["x"], "y", {})], {}), "its output is not one row of class scores"),
    "batch": (
        with_head([("ReduceMean", ["x"], "a", {"axes": [0], "keepdims": 1})], {}, 256),
        "it reduces over the batch",
    ),
}


@pytest.mark.parametrize("name", list(OBSTACLES))
def test_obstacle_is_named_by_the_inspection_and_by_the_refusal(name: str, images: DataSet) -> None:
    model, expected = OBSTACLES[name]
    assert any(expected in obstacle for obstacle in find_obstacles(model))
    recipe = Recipe(name="p", passes=(_PASS.validate_python(PASSES["structured"]),))
    with pytest.raises(PassRefused, match="quantize or cast") as caught:
        run_recipe(recipe, OnnxCandidate(model), data=images, seed=0)
    assert caught.value.code == "needs_torch_model"
    assert any(expected in obstacle for obstacle in caught.value.detail["obstacles"])


def test_inspection_says_whether_training_can_work(tmp_path: Path) -> None:
    onnx.save(tiny_onnx(), tmp_path / "good.onnx")
    onnx.save(OBSTACLES["operator"][0], tmp_path / "bad.onnx")
    good, bad = (inspect_model_file(tmp_path / name) for name in ("good.onnx", "bad.onnx"))
    assert (good.convertible, good.obstacles) == (True, [])
    assert (bad.convertible, bad.obstacles) == (False, ["operator Selu has no plain layer"])


def test_network_whose_outputs_differ_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "PARITY_TOLERANCE", -1.0)
    with pytest.raises(PassRefused) as caught:
        convert_onnx(OnnxCandidate(tiny_onnx()))
    assert caught.value.code == "conversion_differs"


def test_constants_that_would_fill_the_memory_are_not_made() -> None:
    nodes: list[Node] = [
        ("ConstantOfShape", ["huge"], "c", {}),
        ("ReduceMax", ["c"], "m", {"keepdims": 0}),
        ("Add", ["x", "m"], "a", {}),
    ]
    model = with_head(nodes, {"huge": np.array([2**20, 2**20])}, 256)
    assert any("ConstantOfShape" in obstacle for obstacle in find_obstacles(model))


@pytest.mark.parametrize(
    "change",
    [
        {"op": "system"},
        {"inputs": ["later"]},
        {"settings": {"device": "cpu"}},
        {"settings": {"in_channels": 0, "out_channels": -3, "kernel_size": [3, 3]}},
        {"settings": {}},
        {"name": "__class__.x"},
    ],
)
def test_forged_structure_is_refused_before_anything_is_built(
    change: dict[str, Any], converted: TorchCandidate, tmp_path: Path
) -> None:
    document = json.loads(converted.structure.model_dump_json())
    document["arguments"]["nodes"][0] |= change
    path = tmp_path / "forged.safetensors"
    save_file(dict(converted.model.state_dict()), path, metadata={"edgefleet.structure": json.dumps(document)})
    with pytest.raises(ModelFileInvalid) as caught:
        load_candidate(path)
    assert caught.value.code in ("architecture_arguments_invalid", "structure_invalid")


def test_structure_of_another_input_is_refused(converted: TorchCandidate) -> None:
    document = json.loads(converted.structure.model_dump_json())
    document["input"]["shape"] = [1, 9, 9]
    with pytest.raises(ModelFileInvalid):
        parse_structure(json.dumps(document))


CHAIN = st.lists(
    st.sampled_from(["conv", "depthwise", "bn", "Relu", "HardSwish", "maxpool", "avgpool", "residual", "se", "pad"]),
    min_size=1,
    max_size=6,
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(CHAIN, st.integers(0, 2**16))
def test_random_chains_of_operators_give_what_onnxruntime_gives(kinds: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    nodes: list[Node] = []
    constants: dict[str, Any] = {}
    value, channels = "x", 4

    def constant(name: str, *shape: int) -> str:
        constants[name] = rng.normal(size=shape).astype(np.float32) * 0.5
        return name

    for place, kind in enumerate(kinds):
        out = f"out{place}"
        if kind == "conv":
            width = int(rng.integers(1, 6))
            weight = constant(f"w{place}", width, channels, 3, 3)
            nodes.append(("Conv", [value, weight, constant(f"b{place}", width)], out, {"pads": [1, 1, 1, 1]}))
            channels = width
        elif kind == "depthwise":
            weight = constant(f"w{place}", channels, 1, 3, 3)
            nodes.append(("Conv", [value, weight], out, {"pads": [1, 1, 1, 1], "group": channels}))
        elif kind == "bn":
            names = [constant(f"{part}{place}", channels) for part in "sbmv"]
            constants[names[3]] = np.abs(constants[names[3]]) + 0.1
            nodes.append(("BatchNormalization", [value, *names], out, {}))
        elif kind in ("maxpool", "avgpool"):
            op = "MaxPool" if kind == "maxpool" else "AveragePool"
            nodes.append((op, [value], out, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}))
        elif kind == "residual":
            nodes += [("Tanh", [value], f"t{place}", {}), ("Add", [value, f"t{place}"], out, {})]
        elif kind == "se":
            nodes += [
                ("GlobalAveragePool", [value], f"p{place}", {}),
                ("Conv", [f"p{place}", constant(f"w{place}", channels, channels, 1, 1)], f"c{place}", {}),
                ("Sigmoid", [f"c{place}"], f"g{place}", {}),
                ("Mul", [value, f"g{place}"], out, {}),
            ]
        elif kind == "pad":
            constants[f"p{place}"] = np.array([0, 0, 0, 1, 0, 0, 1, 0])
            nodes += [("Pad", [value, f"p{place}"], f"q{place}", {})]
            nodes += [("AveragePool", [f"q{place}"], out, {"kernel_shape": [2, 2]})]
        else:
            nodes.append((kind, [value], out, {}))
        value = out
    nodes.append(("GlobalAveragePool", [value], "pooled", {}))
    model = with_head(nodes, constants, channels, opset=14)
    assert_same(model, convert_onnx(OnnxCandidate(model)).candidate)
