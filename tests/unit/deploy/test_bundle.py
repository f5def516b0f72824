"""Serving bundles against the documented layout of a model repository."""

import hashlib
import json
from pathlib import Path

import pytest

from edgefleet_deploy.bundle import model_config, write_bundle
from edgefleet_deploy.errors import ArtifactMismatch, BundleRefused
from edgefleet_deploy.manifest import (
    ArtifactManifest,
    BuildPlan,
    ParityReport,
    ParityTolerance,
    ShapeRange,
    TensorSpec,
)

PAYLOAD = b"an ONNX file"


def make_manifest(**changes: object) -> ArtifactManifest:
    tolerance = ParityTolerance(
        max_diff_ratio=1e-4, max_diff_steps=None, min_snr_db=None, min_top1_agreement_clear=None
    )
    fields: dict[str, object] = {
        "sha256": hashlib.sha256(PAYLOAD).hexdigest(),
        "size_bytes": len(PAYLOAD),
        "file_name": "model.onnx",
        "format": "onnx",
        "target": "onnxruntime-current",
        "runtime": "onnxruntime",
        "min_runtime_version": "1.18",
        "precision": "fp32",
        "opset": 21,
        "ir_version": 10,
        "inputs": (TensorSpec(name="image", shape=("N", 3, 32, 32), dtype="float32"),),
        "outputs": (TensorSpec(name="output", shape=("N", 10), dtype="float32"),),
        "recipe_sha256": "0" * 64,
        "candidate_sha256": "1" * 64,
        "tool_versions": {},
        "parity": ParityReport(reference="torch", samples="random", n_samples=1, outputs=(), tolerance=tolerance),
    }
    return ArtifactManifest.model_validate(fields | changes)


def make_plan(flags: tuple[str, ...], *, strongly_typed: bool = False) -> BuildPlan:
    shapes = {"image": ShapeRange(min=(1, 3, 32, 32), opt=(1, 3, 32, 32), max=(8, 3, 32, 32))}
    return BuildPlan.model_validate(
        {
            "runtime": "tensorrt",
            "flags": flags,
            "workspace_bytes": 1 << 28,
            "shapes": shapes,
            "strongly_typed": strongly_typed,
            "min_version": "10.3",
            "max_version": None,
        }
    )


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(PAYLOAD)
    return path


def test_the_repository_has_the_documented_layout(artifact: Path, tmp_path: Path) -> None:
    repository = write_bundle(artifact, make_manifest(), tmp_path / "out", name="digits")

    files = sorted(path.relative_to(repository).as_posix() for path in repository.rglob("*") if path.is_file())
    assert files == ["digits/1/model.onnx", "digits/README.md", "digits/config.pbtxt", "digits/manifest.json"]
    assert (repository / "digits" / "1" / "model.onnx").read_bytes() == PAYLOAD
    assert json.loads((repository / "digits" / "manifest.json").read_text())["opset"] == 21


def test_a_free_batch_is_left_out_of_the_dimensions() -> None:
    # model_configuration.md: "max_batch_size > 0 ... the batch dimension is not included in dims"
    config = model_config(make_manifest(), "digits").splitlines()

    assert config[:3] == ['name: "digits"', 'backend: "onnxruntime"', "max_batch_size: 32"]
    assert "    dims: [ 3, 32, 32 ]" in config
    assert "    dims: [ 10 ]" in config
    assert "    data_type: TYPE_FP32" in config
    assert config[-1] == "instance_group [ { kind: KIND_CPU } ]"


def test_a_fixed_batch_is_part_of_the_dimensions() -> None:
    manifest = make_manifest(
        inputs=(TensorSpec(name="x", shape=(4, 7), dtype="float32"),),
        outputs=(TensorSpec(name="y", shape=(4, 2), dtype="float32"),),
    )

    config = model_config(manifest, "m")

    assert "max_batch_size: 0" in config
    assert "dims: [ 4, 7 ]" in config


def test_token_ids_are_int64_and_explained(artifact: Path, tmp_path: Path) -> None:
    tokens = make_manifest(inputs=(TensorSpec(name="tokens", shape=("N", 64), dtype="int64"),))

    repository = write_bundle(artifact, tokens, tmp_path / "out")

    assert "data_type: TYPE_INT64" in (repository / "model" / "config.pbtxt").read_text()
    assert "0 is padding" in (repository / "model" / "README.md").read_text()


@pytest.mark.parametrize(("precision", "mode"), [("fp32", "FP32"), ("fp16", "FP16"), ("int8", "INT8")])
def test_tensorrt_artifacts_are_built_by_the_server(precision: str, mode: str) -> None:
    manifest = make_manifest(runtime="tensorrt", target="tensorrt", precision=precision, build_plan=make_plan(()))

    config = model_config(manifest, "m")

    assert "KIND_GPU" in config
    assert f'key: "precision_mode" value: "{mode}"' in config
    assert 'key: "max_workspace_size_bytes" value: "268435456"' in config
    assert config.count("{") == config.count("}")
    assert config.count("[") == config.count("]")


def test_tflite_artifacts_are_refused_with_the_way_out(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleRefused) as caught:
        write_bundle(artifact, make_manifest(format="tflite", runtime="litert"), tmp_path / "out")

    assert caught.value.code == "bundle_format"
    assert "onnxruntime-current" in caught.value.message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["", "../up", "a b", "x" * 65, ".hidden"])
def test_names_that_are_no_folder_of_ours_are_refused(artifact: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleRefused) as caught:
        write_bundle(artifact, make_manifest(), tmp_path / "out", name=name)

    assert caught.value.code == "bundle_name"


def test_another_file_than_the_manifests_is_refused(artifact: Path, tmp_path: Path) -> None:
    artifact.write_bytes(b"another file")

    with pytest.raises(ArtifactMismatch):
        write_bundle(artifact, make_manifest(), tmp_path / "out")


def test_an_existing_model_is_never_overwritten(artifact: Path, tmp_path: Path) -> None:
    write_bundle(artifact, make_manifest(), tmp_path / "out")

    with pytest.raises(BundleRefused) as caught:
        write_bundle(artifact, make_manifest(), tmp_path / "out")

    assert caught.value.code == "bundle_exists"


def test_types_the_protocol_has_no_name_for_are_refused() -> None:
    with pytest.raises(BundleRefused) as caught:
        model_config(make_manifest(inputs=(TensorSpec(name="x", shape=("N", 2), dtype="complex64"),)), "m")

    assert caught.value.code == "bundle_type"
