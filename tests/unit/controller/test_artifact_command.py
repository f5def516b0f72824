"""``edgefleet artifact check``: no controller, an exit status for programs."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from edgefleet_controller.cli.app import app

IMAGE = {"shape": (1, 8, 8, 4)}
WriteTflite = Callable[..., bytes]


@pytest.fixture
def write(write_tflite: WriteTflite, tmp_path: Path) -> Callable[..., Path]:
    """A file of one operator after another, all on one image."""

    def make(*names: str) -> Path:
        operators = [{"name": name, "inputs": [i], "outputs": [i + 1]} for i, name in enumerate(names)]
        path = tmp_path / "model.tflite"
        path.write_bytes(write_tflite([IMAGE] * (len(names) + 1), operators, [0], [len(names)]))
        return path

    return make


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["artifact", "check", *map(str, arguments)])


def answer(*arguments: object) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run(*arguments, "--json").stdout)
    return document


class TestVerdict:
    @pytest.mark.parametrize("target", ["coral-usb", "coral-dev-board"])
    def test_mapped_file_exits_with_0(self, write: Callable[..., Path], target: str) -> None:
        path = write("RELU", "TANH")
        result = run(path, "--target", target, "--json")

        assert result.exit_code == 0
        document = json.loads(result.stdout)
        assert (document["mapped"], document["reasons"], document["n_mapped"]) == (True, [], 2)
        assert document["target"] == target

    def test_unmapped_file_exits_with_1_and_its_reasons(self, write: Callable[..., Path]) -> None:
        path = write("RELU", "GELU", "RELU")
        document = answer(path, "--target", "coral-usb")

        assert run(path, "--target", "coral-usb", "--json").exit_code == 1
        assert document["mapped"] is False
        assert document["reasons"][0] == "operator_unsupported: operator 1 GELU: the Edge TPU has no such operator"
        assert [operator["mapped"] for operator in document["operators"]] == [True, False, False]

    def test_people_get_the_operators_with_their_reasons(self, write: Callable[..., Path]) -> None:
        result = run(write("RELU", "GELU"), "--target", "coral-usb")

        assert result.exit_code == 1
        assert "does not wholly map to coral-usb: 1 of 2 operators" in result.stdout
        assert "the Edge TPU has no such operator" in result.stdout


class TestUnusableInput:
    def test_compiled_file_is_said_to_be_one(self, write: Callable[..., Path]) -> None:
        result = run(write("edgetpu-custom-op"), "--target", "coral-usb")

        assert result.exit_code == 2
        assert "already_compiled" in result.stderr

    @pytest.mark.parametrize(("length", "code"), [(0, "not_tflite"), (6, "not_tflite"), (200, "file_damaged")])
    def test_truncated_file(self, write: Callable[..., Path], length: int, code: str) -> None:
        path = write("RELU")
        path.write_bytes(path.read_bytes()[:length])
        result = run(path, "--target", "coral-usb")

        assert (result.exit_code, code in result.stderr) == (2, True)

    def test_absent_file_and_folder(self, tmp_path: Path) -> None:
        for path in (tmp_path / "none.tflite", tmp_path):
            result = run(path, "--target", "coral-usb")
            assert (result.exit_code, "file_unreadable" in result.stderr) == (2, True)

    def test_file_beyond_what_the_format_holds(self, tmp_path: Path) -> None:
        path = tmp_path / "huge.tflite"
        with path.open("wb") as file:
            file.truncate((2 << 30) + 1)  # sparse: takes no room
        result = run(path, "--target", "coral-usb")

        assert (result.exit_code, "file_too_large" in result.stderr) == (2, True)

    @pytest.mark.parametrize(("target", "code"), [("onnxruntime", "no_checker"), ("abacus", "unknown_target")])
    def test_target_that_is_not_checked(self, write: Callable[..., Path], target: str, code: str) -> None:
        result = run(write("RELU"), "--target", target)

        assert (result.exit_code, code in result.stderr) == (2, True)


def test_checking_loads_neither_torch_nor_onnx() -> None:
    """The command answers in the time of a look, not of a framework's import."""
    look = "import sys; import edgefleet_deploy.edgetpu_checker, edgefleet_deploy.targets; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert not {"torch", "onnx", "flatbuffers", "ai_edge_litert"} & set(done.stdout.split())
