"""Core ML packages: what can be said without coremltools, and the conversion where it is installed."""

import importlib.util
import io
import json
import zipfile
from pathlib import Path

import pytest
import torch

from edgefleet_compression.candidate import TorchCandidate, Traits
from edgefleet_compression.models.registry import build_model
from edgefleet_compression.structure import InputSpec, Structure, TaskSpec
from edgefleet_deploy.compiler import CompileContext
from edgefleet_deploy.coreml import CoreMlCompiler, parity_not_run, zip_package
from edgefleet_deploy.errors import CompilerUnavailable, HostCannotRun
from edgefleet_deploy.targets import get_target

HAS_COREMLTOOLS = importlib.util.find_spec("coremltools") is not None


def make_candidate() -> TorchCandidate:
    torch.manual_seed(0)
    arguments = {"n_classes": 4, "stem_width": 8, "widths": [8], "blocks": [1]}
    structure = Structure(
        architecture="resnet",
        arguments=arguments,
        input=InputSpec(name="image", shape=(1, 8, 8)),
        task=TaskSpec(n_classes=4),
    )
    return TorchCandidate(build_model("resnet", arguments).eval(), structure)


@pytest.fixture
def context(tmp_path: Path) -> CompileContext:
    return CompileContext(target=get_target("coreml"), work_dir=tmp_path, data=None, seed=0, threads=1)


def write_package(folder: Path, identifier: str) -> Path:
    package = folder / "model.mlpackage"
    weights = package / "Data" / "com.apple.CoreML" / "weights"
    weights.mkdir(parents=True)
    (package / "Manifest.json").write_text(json.dumps({"rootModelIdentifier": identifier}))
    (weights.parent / "model.mlmodel").write_bytes(b"model")
    (weights / "weight.bin").write_bytes(b"weights")
    (package / "executorch_debug_handle_mapping.json").write_text("{}")
    return package


def test_packages_that_differ_in_random_identifiers_only_zip_to_the_same_bytes(tmp_path: Path) -> None:
    one = zip_package(write_package(tmp_path / "one", "1c2d"))
    other = zip_package(write_package(tmp_path / "other", "9f8e"))

    assert one == other
    with zipfile.ZipFile(io.BytesIO(one)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        manifest = json.loads(archive.read("model.mlpackage/Manifest.json"))
    assert [Path(name).name for name in names] == ["Manifest.json", "model.mlmodel", "weight.bin"]
    paths = {entry["path"] for entry in manifest["itemInfoEntries"].values()}
    assert paths == {"com.apple.CoreML/model.mlmodel", "com.apple.CoreML/weights"}
    assert manifest["rootModelIdentifier"] in manifest["itemInfoEntries"]


def test_parity_that_was_not_run_says_so() -> None:
    report = parity_not_run("no Mac here")

    assert (report.n_samples, report.outputs, report.not_run_reason) == (0, (), "no Mac here")


def test_onnx_files_and_simulated_integers_are_refused() -> None:
    target = get_target("coreml")

    assert "safetensors" in str(CoreMlCompiler().refuse(Traits(form="onnx", precision="fp32"), target))
    assert "int8" in str(CoreMlCompiler().refuse(Traits(form="torch", precision="int8"), target))
    assert CoreMlCompiler().refuse(Traits(form="torch", precision="fp16"), target) is None


def test_opening_a_package_is_a_coded_refusal() -> None:
    with pytest.raises(HostCannotRun) as caught:
        CoreMlCompiler().open(b"", threads=1)

    assert caught.value.code == "host_cannot_run"


@pytest.mark.skipif(HAS_COREMLTOOLS, reason="coremltools is installed here")
def test_without_coremltools_the_refusal_says_what_to_install(context: CompileContext) -> None:
    with pytest.raises(CompilerUnavailable) as caught:
        CoreMlCompiler().compile(make_candidate(), context)

    assert caught.value.code == "compiler_unavailable"
    assert "edgefleet[coreml]" in caught.value.message


@pytest.mark.skipif(not HAS_COREMLTOOLS, reason="coremltools (extra coreml) is not installed")
def test_a_network_becomes_a_package_with_the_candidates_names(context: CompileContext) -> None:
    compiled = CoreMlCompiler().compile(make_candidate(), context)

    assert [spec.name for spec in compiled.inputs] == ["image"]
    assert compiled.parity.not_run_reason is not None
    assert "parity_not_run" in compiled.notes
    assert zipfile.is_zipfile(io.BytesIO(compiled.payload))
