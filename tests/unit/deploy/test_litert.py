"""Parts of the LiteRT compiler, on networks and files of a few numbers."""

import ast
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import edgefleet_deploy
from edgefleet_compression.candidate import Traits
from edgefleet_compression.passes.specs import ActivationFormat
from edgefleet_compression.quantization.activations import ActivationFakeQuant
from edgefleet_deploy import litert_tools
from edgefleet_deploy.compiler import compiler_for
from edgefleet_deploy.errors import CompilerUnavailable
from edgefleet_deploy.litert_network import Range, observe_points, round_weights
from edgefleet_deploy.manifest import TensorSpec
from edgefleet_deploy.onnx_session import fit_inputs
from edgefleet_deploy.samples import random_samples
from edgefleet_deploy.targets import TARGETS

has_tools = pytest.mark.skipif(bool(litert_tools.missing_tools()), reason="needs the extra tflite")


@pytest.mark.skipif(os.environ.get("CI") != "true", reason="elsewhere the extra may be left out")
def test_ci_has_the_extra() -> None:
    """What needs it is skipped without it, so CI must not be without it."""
    assert litert_tools.missing_tools() == []


class TestRefusals:
    @pytest.mark.parametrize("precision", ["int8-dynamic", "int4-weights"])
    def test_tflite_runtime_takes_no_file_that_it_computes_wrongly(self, precision: str) -> None:
        target = TARGETS["tflite-runtime"]
        reason = compiler_for(target).refuse(Traits("torch", precision), target)  # type: ignore[arg-type]

        assert reason is not None
        assert "choose target litert" in reason

    @pytest.mark.parametrize("target", ["litert", "tflite-runtime"])
    def test_onnx_graphs_are_refused_with_what_to_do(self, target: str) -> None:
        reason = compiler_for(TARGETS[target]).refuse(Traits("onnx", "fp32"), TARGETS[target])

        assert reason is not None
        assert "choose an onnxruntime target" in reason

    def test_missing_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(litert_tools, "find_spec", lambda name: None if name == "litert_torch" else object())

        with pytest.raises(CompilerUnavailable) as caught:
            litert_tools.require_tools()

        assert caught.value.code == "compiler_unavailable"
        assert caught.value.detail == {"missing": ["litert-torch"]}

    def test_only_one_module_imports_the_converter_which_takes_seconds(self) -> None:
        folder = Path(edgefleet_deploy.__file__).parent
        importers = {
            path.name
            for path in folder.glob("*.py")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import) and any(alias.name == "litert_torch" for alias in node.names)
        }
        eager = {
            path.name
            for path in folder.glob("*.py")
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.ImportFrom) and node.module == "edgefleet_deploy.litert_build"
        }

        assert importers == {"litert_export.py"}
        assert eager == set()


class TestRanges:
    def test_range_without_zero_is_refused(self) -> None:
        with pytest.raises(ValueError, match="does not contain zero"):
            Range(0.5, 1.0)

    def test_point_tells_what_it_saw_and_what_its_integers_stand_for(self) -> None:
        """uint8, scale 0.5, zero point 100: 0..255 stand for -50..77.5."""
        point = ActivationFakeQuant(ActivationFormat(), device=torch.device("cpu"))
        point.scale.fill_(0.5)
        point.zero_point.fill_(100)

        (found,) = observe_points(nn.Sequential(point), np.array([[-3.0, 4.0], [1.0, 2.0]], np.float32))

        assert found.seen == Range(-3.0, 4.0)
        assert found.represented == Range(-50.0, 77.5)

    def test_float_network_has_no_points(self) -> None:
        assert observe_points(nn.ReLU(), np.ones((1, 2), np.float32)) == ()

    @has_tools
    def test_tensor_takes_the_scale_of_the_point_with_its_range(self) -> None:
        from edgefleet_deploy.litert_network import Point
        from edgefleet_deploy.litert_quantization import adopt_points

        points = (Point(Range(0, 1), Range(0, 1.5)), Point(Range(-2, 2), Range(-2.5, 2.5)))
        ranges, n_unknown = adopt_points({"a": Range(-2.0001, 2), "b": Range(0, 1), "c": Range(0, 7)}, points)

        assert ranges == {"a": Range(-2.5, 2.5), "b": Range(0, 1.5), "c": Range(0, 7)}
        assert n_unknown == 1


class TestRoundedWeights:
    def test_weights_stand_on_the_grid_of_their_channel(self) -> None:
        """Row 1: largest 7, so the 4-bit step is 1. Row 2: largest 0.7, step 0.1."""
        layer = nn.Linear(3, 2)
        layer.weight = nn.Parameter(torch.tensor([[7.0, 3.4, -1.6], [0.7, 0.26, -0.01]]))

        (rounded,) = round_weights(nn.Sequential(layer), 4).children()

        assert isinstance(rounded, nn.Linear)
        assert rounded.weight.flatten().tolist() == pytest.approx([7, 3, -2, 0.7, 0.3, 0.0], abs=1e-6)

    def test_depthwise_convolutions_have_no_four_bit_form(self) -> None:
        layer = nn.Conv2d(2, 2, 3, groups=2)

        (rounded,) = round_weights(nn.Sequential(layer), 4).children()

        assert torch.equal(rounded.weight, layer.weight)  # type: ignore[arg-type]


class TestChannelLastInputs:
    SPEC = TensorSpec(name="image", shape=(1, 2, 3, 1), dtype="int8", scale=0.5, zero_point=0, layout="NHWC")

    def test_images_of_the_data_set_are_transposed(self) -> None:
        images = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)

        fitted = fit_inputs((self.SPEC,), {"x": images})["image"]

        assert fitted.shape == (1, 2, 3, 1)
        assert fitted[0, 1, 2, 0] == images[0, 0, 1, 2]

    def test_scaled_integers_are_fed_as_real_numbers(self) -> None:
        assert fit_inputs((self.SPEC,), {"x": np.ones((1, 1, 2, 3), np.float32)})["image"].dtype == np.float32
        assert random_samples((self.SPEC,), n_samples=2, seed=0).inputs["image"].dtype == np.float32

    def test_inputs_without_a_layout_stay_as_they_are(self) -> None:
        spec = self.SPEC.model_copy(update={"layout": None})
        images = np.ones((1, 2, 3, 1), np.float32)

        assert np.array_equal(fit_inputs((spec,), {"x": images})["image"], images)


@pytest.fixture(scope="module")
def payload(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of a small network, as the converter writes it."""
    from edgefleet_compression.structure import InputSpec
    from edgefleet_deploy.litert_export import convert_module

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.Flatten(), nn.Linear(36, 3)
    ).eval()
    return convert_module(network, InputSpec(name="image", shape=(2, 5, 5)), tmp_path_factory.mktemp("convert"))


@has_tools
class TestFiles:
    """One small network, converted once."""

    def test_lean_file_computes_the_same_and_is_smaller(self, payload: bytes) -> None:
        from edgefleet_deploy.litert_flatbuffer import read_model, write_lean
        from edgefleet_deploy.litert_session import LitertSession

        lean = write_lean(read_model(payload), input_names=["image"], output_names=["output"])
        image = np.random.default_rng(0).standard_normal((4, 5, 5, 2)).astype(np.float32)
        full_session, session = LitertSession(payload, threads=1), LitertSession(lean, threads=1)
        full = full_session.run({full_session.inputs[0].name: image})

        assert np.array_equal(session.run({"image": image})["output"], next(iter(full.values())))
        assert len(lean) < len(payload) - 1500

    def test_data_behind_the_flatbuffer_are_moved_into_it(self, payload: bytes) -> None:
        """Quantizers put large weights there; a file that left them out would load and stop at its first inference."""
        import flatbuffers

        from edgefleet_deploy.litert_flatbuffer import read_model, write_lean
        from edgefleet_deploy.litert_session import LitertSession

        model, behind = read_model(payload), b""
        buffer = max(model.buffers, key=lambda item: 0 if item.data is None else len(item.data))
        behind, buffer.data, buffer.size = buffer.data.tobytes(), None, len(buffer.data)
        buffer.offset = 0xFFFFFFFF  # keeps its place until the length of the flatbuffer is known
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        front = bytes(builder.Output())
        front = front.replace((0xFFFFFFFF).to_bytes(8, "little"), len(front).to_bytes(8, "little"))

        lean = write_lean(read_model(front + behind), input_names=["image"], output_names=["output"])

        image = np.ones((1, 5, 5, 2), np.float32)
        full = LitertSession(payload, threads=1)
        wanted = next(iter(full.run({full.inputs[0].name: image}).values()))
        assert np.array_equal(LitertSession(lean, threads=1).run({"image": image})["output"], wanted)

    def test_equal_constants_are_stored_once(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        from edgefleet_deploy.litert_flatbuffer import read_model, write_lean

        model, graph = schema.ModelT(), schema.SubGraphT()
        model.version, model.subgraphs, model.operatorCodes = 3, [graph], []
        model.buffers = [schema.BufferT() for _ in range(3)]
        for buffer in model.buffers[1:]:
            buffer.data = np.full(400, 7, np.uint8)
        graph.tensors, graph.inputs, graph.outputs, graph.operators = [], [0], [0], []
        for index in range(3):
            tensor = schema.TensorT()
            tensor.shape, tensor.buffer, tensor.type = np.array([100], np.int32), index, schema.TensorType.FLOAT32
            graph.tensors.append(tensor)
        signature, both = schema.SignatureDefT(), schema.TensorMapT()
        both.tensorIndex, both.name = 0, b"x"
        signature.inputs, signature.outputs, signature.signatureKey = [both], [both], b"serving_default"
        model.signatureDefs = [signature]

        payload = write_lean(model, input_names=["x"], output_names=["x"])

        assert payload.count(bytes([7] * 400)) == 1
        assert [tensor.buffer for tensor in read_model(payload).subgraphs[0].tensors] == [0, 1, 1]

    def test_operators_cost_what_their_shapes_say(self, payload: bytes) -> None:
        """Over 5x5: 3x3x2 products for 4 channels; over 3x3: 3x3 for 4 channels; back to channels first for the
        flattening, which multiplies nothing; 36 inputs for 3 classes.
        """
        from edgefleet_deploy.litert_flatbuffer import read_model
        from edgefleet_deploy.litert_operators import count_operators, list_operators

        model = read_model(payload)
        rows = count_operators(model)

        assert rows is not None
        assert [row.macs for row in rows] == [5 * 5 * 18 * 4, 3 * 3 * 9 * 4, 0, 36 * 3]
        assert [row.kind for row in rows] == ["dense", "depthwise", "elementwise", "dense"]
        assert rows[0].weight_bytes == 4 * (18 * 4 + 4)
        assert list_operators(model)["FULLY_CONNECTED"] == 1

    def test_operators_nobody_looked_at_have_no_known_version(self, payload: bytes) -> None:
        from edgefleet_deploy import litert_versions
        from edgefleet_deploy.litert_flatbuffer import read_model

        model = read_model(payload)
        known = replace(TARGETS["litert"], min_version="2.1")
        model.operatorCodes[0].version = 99

        assert litert_versions.min_runtime_version(model, known) is None


@has_tools
def test_network_that_the_converter_does_not_know_is_a_coded_refusal(tmp_path: Path) -> None:
    from edgefleet_compression.structure import InputSpec
    from edgefleet_deploy.errors import CandidateRefused
    from edgefleet_deploy.litert_export import convert_module

    class Unknown(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 255)

    with pytest.raises(CandidateRefused) as caught:
        convert_module(Unknown(), InputSpec(name="image", shape=(2, 5, 5)), tmp_path)

    assert caught.value.code == "not_exportable"
