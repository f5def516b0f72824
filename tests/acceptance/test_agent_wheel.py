"""The agent's wheel alone, in bare environments of the Pythons that boards have."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
NAMED = {"3.9": "EDGEFLEET_PY39", "3.13": "EDGEFLEET_PY313"}
"""Variables that name an interpreter; 3.11 is the one that runs the tests."""

FROM_VENDORS = ("tensorrt", "pycoral", "libedgetpu", "edgetpu")
COMMAND_TIMEOUT_S = 240


@dataclass(frozen=True)
class Bare:
    """An environment with the wheel, its requirements and onnxruntime, and nothing else."""

    folder: Path

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """One of the environment's programs, with nothing of this process's Python in its environment."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        state = {"EDGEFLEET_AGENT_STATE_DIR": str(self.folder / "state")}
        return subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            env=kept | state,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), "./agent"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=COMMAND_TIMEOUT_S)
    return next(folder.glob("edgefleet_agent-*.whl"))


@pytest.fixture(scope="session")
def metadata(wheel: Path) -> Message:
    """What the wheel declares."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def interpreter(version: str) -> str:
    """A Python of this version; skips where there is none."""
    if sys.version_info[:2] == tuple(map(int, version.split("."))):
        return sys.executable
    found = os.environ.get(NAMED.get(version, "")) or shutil.which("python" + version)
    if not found:
        pytest.skip(f"no Python {version} here: install one, or name it in {NAMED.get(version, 'PATH')}")
    return found


@pytest.fixture(scope="session", params=["3.9", "3.11", "3.13"])
def bare(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Bare:
    """The wheel installed into an empty environment by pip, as on a board."""
    python = interpreter(request.param)
    folder = tmp_path_factory.mktemp("bare") / request.param
    subprocess.run([python, "-m", "venv", str(folder)], check=True, timeout=COMMAND_TIMEOUT_S)
    install = Bare(folder).run(
        "python", "-m", "pip", "install", "--quiet", "--no-compile", "--only-binary=:all:", f"{wheel}[onnxruntime]"
    )
    assert install.returncode == 0, install.stderr
    return Bare(folder)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of one operator that runtimes back to 1.10 load."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
    )
    path = tmp_path_factory.mktemp("model") / "relu.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
    return path


@pytest.mark.slow
def test_the_wheel_alone_looks_at_the_board_and_measures(bare: Bare, model: Path) -> None:
    doctor = bare.run("edgefleet-agent", "doctor", "--json")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    findings = {item["subject"]: item for item in json.loads(doctor.stdout)}
    assert findings["runtime onnxruntime"]["level"] == "ok"
    assert str(bare.folder) in findings["runtime onnxruntime"]["text"]
    bench = bare.run(
        "edgefleet-agent", "bench", str(model), "--seconds", "0.2", "--warmup-seconds", "0.1", "--json", "report.json"
    )
    assert bench.returncode == 0, bench.stderr
    report = json.loads((bare.folder / "report.json").read_text())
    assert (report["error"], report["provenance"]) == (None, "measured")
    assert report["latency_ms"]["n"] >= 700


@pytest.mark.slow
def test_every_extra_resolves_on_a_python_without_tflite_runtime(wheel: Path) -> None:
    python = interpreter("3.13")
    wanted = f"{wheel}[onnxruntime,litert,tflite-runtime]"
    command = [python, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--only-binary=:all:", wanted]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    would_install = done.stdout.rpartition("Would install")[2]
    assert "ai-edge-litert" in would_install
    assert "tflite-runtime" not in would_install


def test_what_only_vendors_deliver_is_no_requirement(metadata: Message) -> None:
    names = {Requirement(line).name.lower() for line in metadata.get_all("Requires-Dist", [])}
    assert "onnxruntime" in names
    assert not names.intersection(FROM_VENDORS)


@pytest.mark.parametrize(
    ("extra", "python", "machine", "expected"),
    [
        ("tflite-runtime", "3.11", "aarch64", {"tflite-runtime", "numpy"}),
        ("tflite-runtime", "3.11", "armv7l", {"tflite-runtime", "numpy"}),
        ("tflite-runtime", "3.12", "aarch64", set()),
        ("litert", "3.13", "aarch64", {"ai-edge-litert"}),
        ("litert", "3.11", "armv7l", set()),
        ("onnxruntime", "3.9", "x86_64", {"onnxruntime"}),
        ("onnxruntime", "3.11", "armv7l", set()),
    ],
)
def test_extras_ask_only_for_what_the_index_has(
    metadata: Message, extra: str, python: str, machine: str, expected: set[str]
) -> None:
    board = {"extra": extra, "python_version": python, "platform_machine": machine, "platform_system": "Linux"}
    requirements = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    chosen = {item.name for item in requirements if "extra" in str(item.marker) and item.marker.evaluate(board)}  # type: ignore[union-attr]
    assert chosen == expected
