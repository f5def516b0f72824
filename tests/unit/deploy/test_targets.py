import subprocess
import sys

import pytest

from edgefleet_compression.precision import Precision
from edgefleet_deploy.compiler import compiler_for
from edgefleet_deploy.errors import TargetInvalid
from edgefleet_deploy.targets import TARGETS, Target, get_target, parse_version, target_from_request


def test_default_target_writes_what_onnxruntime_1_10_loads() -> None:
    target = get_target("onnxruntime")

    assert (target.opset, target.ir_version, target.min_version) == (13, 7, "1.10")
    assert (target.activation_type, target.weight_type) == ("uint8", "int8")
    assert target.file_name == "model.onnx"


@pytest.mark.parametrize(
    ("name", "precision", "multiple"),
    [
        ("onnxruntime", "fp32", 8),
        ("litert", "int8", 8),
        ("coral-usb", "int8", 8),
        ("tensorrt-10.3", "fp16", 8),
        ("tensorrt-10.3", "int8", 32),
        ("tensorrt", "int8", 32),
        ("tensorrt", None, 8),
    ],
)
def test_channels_that_a_target_computes_at_a_time(name: str, precision: Precision | None, multiple: int) -> None:
    """TensorRT's layouts: HWC8 of float16, CHW32 of int8."""
    assert get_target(name).multiple_for(precision) == multiple


def test_unknown_target_is_refused_with_the_known_names() -> None:
    with pytest.raises(TargetInvalid) as caught:
        get_target("abacus")

    assert caught.value.code == "unknown_target"
    assert "onnxruntime" in caught.value.message


def test_version_1_9_is_older_than_1_10() -> None:
    assert parse_version("1.9") < parse_version("1.10") < parse_version("1.10.1")


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"name": "onnxruntime", "min_version": "1.9"}, "target_version_unsupported"),
        ({"name": "onnxruntime", "min_version": "new"}, "target_invalid"),
        ({"name": "onnxruntime", "min_version": 1.1}, "target_invalid"),
        ({"name": "onnxruntime", "colour": "red"}, "target_invalid"),
        ({"name": 3}, "target_invalid"),
    ],
)
def test_bad_target_request_is_refused_with_a_code(request_: dict[str, object], code: str) -> None:
    with pytest.raises(TargetInvalid) as caught:
        target_from_request(request_)

    assert caught.value.code == code


def test_a_newer_minimum_version_is_kept() -> None:
    assert target_from_request({"name": "onnxruntime", "min_version": "1.15"}).min_version == "1.15"
    assert target_from_request({}) == get_target("onnxruntime")


def test_every_target_has_a_compiler_of_its_runtime() -> None:
    for target in TARGETS.values():
        assert compiler_for(target).runtime == target.runtime


def test_a_target_without_compiler_is_refused() -> None:
    target = Target("x", "abacus", "beads", "1", 0, 0, "uint8", "int8", ".beads", ("fp32",))

    with pytest.raises(TargetInvalid) as caught:
        compiler_for(target)

    assert caught.value.code == "no_compiler"


def test_an_extension_without_dot_is_refused() -> None:
    with pytest.raises(TargetInvalid):
        Target("x", "abacus", "beads", "1", 0, 0, "uint8", "int8", "beads", ("fp32",))


def test_what_the_controller_imports_loads_neither_torch_nor_onnx() -> None:
    code = (
        "import sys, edgefleet_deploy.targets, edgefleet_deploy.manifest, edgefleet_deploy.errors, edgefleet_deploy.compiler;"
        "print([name for name in ('torch', 'onnx', 'onnxruntime') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert found.stdout.strip() == "[]"
