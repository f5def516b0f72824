import io
import json
import pickle
import subprocess
import sys
import zipfile
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


@pytest.fixture(scope="module")
def malicious_archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An archive of torch.export one of whose weights says that it is a pickle; and the file that the pickle makes."""
    folder = tmp_path_factory.mktemp("export")
    marker, honest, malicious = folder / "marker", folder / "honest.pt2", folder / "malicious.pt2"
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), honest)

    class MakesFile:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (marker,))

    payload = io.BytesIO()
    torch.save(MakesFile(), payload)
    with zipfile.ZipFile(honest) as source, zipfile.ZipFile(malicious, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("model_weights_config.json"):
                config = json.loads(content)
                config["config"]["weight"]["use_pickle"] = True
                content = json.dumps(config).encode()
            elif name.endswith("weights/weight_0"):
                content = payload.getvalue()
            target.writestr(name, content)
    return malicious, marker


def test_archives_of_torch_export_are_refused_without_being_read(malicious_archive: tuple[Path, Path]) -> None:
    path, marker = malicious_archive
    assert code_of(path) == "export_archive_refused"
    assert not marker.exists()


@pytest.mark.slow  # a process of its own imports torch
def test_torchs_own_reader_of_such_an_archive_runs_what_it_says(malicious_archive: tuple[Path, Path]) -> None:
    """The reason for the refusal. If this fails, torch has changed, and the decision can be looked at again."""
    path, marker = malicious_archive
    program = "import sys, torch; torch.export.load(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, timeout=120, check=False)
    assert marker.exists()


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
