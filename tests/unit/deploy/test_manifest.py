import hashlib
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from edgefleet_deploy.errors import ArtifactMismatch
from edgefleet_deploy.manifest import (
    ArtifactManifest,
    BuildPlan,
    OutputParity,
    ParityReport,
    ParityTolerance,
    ShapeRange,
    TensorSpec,
    file_sha256,
    verify_file,
)

# sha256 of the three bytes "abc": FIPS 180-2, appendix B.1
ABC_SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def make_manifest(**changes: object) -> ArtifactManifest:
    output = OutputParity(
        name="y",
        output_range=2.0,
        max_abs_diff=0.0,
        max_diff_ratio=0.0,
        max_diff_steps=0.0,
        snr_db=None,
        top1_agreement=1.0,
        top1_agreement_clear=1.0,
        n_clear=3,
    )
    tolerance = ParityTolerance(
        max_diff_ratio=1e-4, max_diff_steps=None, min_snr_db=None, min_top1_agreement_clear=None
    )
    fields: dict[str, object] = {
        "sha256": ABC_SHA256,
        "size_bytes": 3,
        "file_name": "model.onnx",
        "format": "onnx",
        "target": "onnxruntime",
        "runtime": "onnxruntime",
        "min_runtime_version": "1.10",
        "precision": "fp32",
        "opset": 13,
        "ir_version": 7,
        "inputs": (TensorSpec(name="x", shape=("N", 1, 8, 8), dtype="float32"),),
        "outputs": (TensorSpec(name="y", shape=("N", 10), dtype="float32"),),
        "recipe_sha256": "0" * 64,
        "candidate_sha256": "1" * 64,
        "tool_versions": {"onnx": "1.23.2"},
        "parity": ParityReport(
            reference="torch", samples="validation", n_samples=3, outputs=(output,), tolerance=tolerance
        ),
    }
    return ArtifactManifest.model_validate(fields | changes)


def test_manifest_survives_json() -> None:
    manifest = make_manifest(notes=("calibration_random",))

    restored = ArtifactManifest.model_validate_json(manifest.canonical_json())

    assert restored == manifest
    assert restored.canonical_json() == manifest.canonical_json()


def test_canonical_json_has_sorted_keys_and_no_spaces() -> None:
    text = make_manifest().canonical_json().decode()

    assert list(json.loads(text)) == sorted(json.loads(text))
    assert ": " not in text


def test_file_hash_is_the_published_one(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")

    assert file_sha256(path) == ABC_SHA256 == hashlib.sha256(b"abc").hexdigest()
    verify_file(make_manifest(), path)


@pytest.mark.parametrize("content", [b"abd", b"ab", b""])
def test_other_bytes_are_a_hash_mismatch(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "abc"
    path.write_bytes(content)

    with pytest.raises(ArtifactMismatch) as caught:
        verify_file(make_manifest(), path)

    assert caught.value.code == "artifact_hash_mismatch"


@pytest.mark.parametrize(
    "changes", [{"sha256": "abc"}, {"size_bytes": 0}, {"precision": "int3"}, {"colour": "red"}, {"inputs": ()}]
)
def test_impossible_manifest_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        make_manifest(**changes)


def make_plan(**changes: object) -> BuildPlan:
    fields: dict[str, object] = {
        "runtime": "tensorrt",
        "flags": ("int8", "fp16"),
        "workspace_bytes": 1 << 28,
        "shapes": {"x": ShapeRange(min=(1, 8), opt=(1, 8), max=(4, 8))},
        "strongly_typed": False,
        "min_version": "8.2",
        "max_version": "9",
    }
    return BuildPlan.model_validate(fields | changes)


def test_build_plan_travels_in_the_manifest() -> None:
    manifest = make_manifest(build_plan=make_plan(), runtime="tensorrt")

    assert ArtifactManifest.model_validate_json(manifest.canonical_json()).build_plan == make_plan()


@pytest.mark.parametrize(
    "changes",
    [{"strongly_typed": True}, {"flags": ("int4",)}, {"workspace_bytes": 0}, {"shapes": {}}, {"runtime": "abacus"}],
)
def test_impossible_build_plan_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        make_plan(**changes)


@pytest.mark.parametrize("largest", [(0, 8), (4, 8, 8), (4, 7)])
def test_shapes_that_do_not_contain_each_other_are_refused(largest: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError):
        ShapeRange(min=(1, 8), opt=(1, 8), max=largest)
