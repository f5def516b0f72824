import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from safetensors.numpy import save_file

from edgefleet_compression import inspection
from edgefleet_compression.candidate import TorchCandidate, save_candidate
from edgefleet_compression.errors import ModelFileInvalid
from edgefleet_compression.inspection import inspect_model_file
from edgefleet_compression.testing import tiny_onnx


def code_of(path: Path) -> str:
    with pytest.raises(ModelFileInvalid) as caught:
        inspect_model_file(path)
    assert path.name in caught.value.message
    return caught.value.code


def test_facts_of_an_onnx_file(tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(tiny_onnx().SerializeToString())
    facts = inspect_model_file(path)
    assert facts.format == "onnx"
    assert [(item.name, item.shape, item.dtype) for item in facts.inputs] == [("image", [None, 1, 8, 8], "float32")]
    assert (facts.opset, facts.architecture, facts.quantized) == (13, None, False)
    assert facts.n_parameters == 4 * 9 + 4 + 4 * 4 + 4


def test_facts_of_a_candidate_count_trainable_numbers_only(candidate: TorchCandidate, tmp_path: Path) -> None:
    facts = inspect_model_file(save_candidate(candidate, tmp_path / "c.safetensors"))
    assert facts.n_parameters == sum(parameter.numel() for parameter in candidate.model.parameters())
    assert facts.architecture == "resnet"
    assert facts.inputs[0].shape == [None, 1, 8, 8]


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors", "model.pt"])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_pickles_are_refused_by_content_whatever_their_name(tmp_path: Path, name: str, protocol: int) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps({"weights": [1.0] * 100}, protocol=protocol))
    assert code_of(path) == "pickle_refused"


def test_torch_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    torch.save({"weight": torch.zeros(3)}, path)
    assert code_of(path) == "pickle_refused"


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_truncated_files_are_refused(candidate: TorchCandidate, tmp_path: Path, kept: float) -> None:
    whole = save_candidate(candidate, tmp_path / "c.safetensors").read_bytes()
    onnx_bytes = tiny_onnx().SerializeToString()
    for name, payload in {"cut.safetensors": whole, "cut.onnx": onnx_bytes}.items():
        path = tmp_path / name
        path.write_bytes(payload[: int(len(payload) * kept)])
        assert code_of(path) == "file_corrupt"


def test_empty_and_missing_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    assert code_of(tmp_path / "empty.onnx") == "file_corrupt"
    assert code_of(tmp_path / "nowhere.onnx") == "file_missing"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.binary(max_size=400))
def test_any_other_bytes_are_refused_with_a_coded_error(tmp_path: Path, payload: bytes) -> None:
    path = tmp_path / "noise.onnx"
    path.write_bytes(payload)
    assert code_of(path) in {"file_corrupt", "pickle_refused", "custom_operator_refused", "external_data_refused"}


def test_weights_without_structure_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    save_file({"weight": np.zeros(8, np.float32)}, path)
    assert code_of(path) == "structure_missing"


def test_large_files_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.onnx"
    path.write_bytes(tiny_onnx().SerializeToString())
    monkeypatch.setattr(inspection, "MAX_FILE_BYTES", 100)
    assert code_of(path) == "file_too_large"


def external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def custom(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "ai.somebody"
    model.opset_import.append(helper.make_opsetid("ai.somebody", 1))


def custom_in_subgraph(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([helper.make_node("Evil", ["x"], ["y"], domain="evil")], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["logits"], ["z"], then_branch=inner, else_branch=inner))


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (external, "external_data_refused"),
        (custom, "custom_operator_refused"),
        (custom_in_subgraph, "custom_operator_refused"),
    ],
)
def test_graphs_with_foreign_parts_are_refused(
    tmp_path: Path, spoil: Callable[[onnx.ModelProto], None], code: str
) -> None:
    model = tiny_onnx()
    spoil(model)
    path = tmp_path / "foreign.onnx"
    path.write_bytes(model.SerializeToString())
    assert code_of(path) == code


def test_zip_of_arrays_is_no_model(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros(3))
    path = tmp_path / "data.onnx"
    path.write_bytes(buffer.getvalue())
    assert code_of(path) == "pickle_refused"
