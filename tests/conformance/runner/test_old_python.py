"""The runner on the oldest interpreters a board brings along: Python 3.6 on a Jetson Nano."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import edgefleet_agent.runner
from edgefleet_agent.measure.child_process import child_environment
from edgefleet_agent.measure.runner_archive import write_runner_archive

RUNNER = Path(edgefleet_agent.runner.__file__).parent
SOURCES = sorted(RUNNER.glob("*.py"))

VENDORS = {
    "onnxruntime_.py": {"onnxruntime"},
    "litert_.py": {"ai_edge_litert"},
    "tflite_runtime_.py": {"tflite_runtime"},
    "edgetpu_.py": {"ai_edge_litert", "pycoral", "tflite_runtime"},
    "tensorrt_.py": {"tensorrt"},
}
ALLOWED = {
    "array", "base64", "contextlib", "ctypes", "edgefleet_agent", "functools", "gc", "glob", "hashlib", "importlib", "json", "mmap", "numpy", "os",
    "platform", "re", "resource", "shutil", "signal", "statistics", "subprocess", "sys", "tempfile", "threading", "time", "traceback", "typing", "zipfile",
}  # fmt: skip
"""The standard library of 3.6, numpy, and the runner itself."""


def imported_modules(source: Path) -> "set[str]":
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_imports_are_few_and_old(source: Path) -> None:
    names = imported_modules(source)
    assert {name.split(".")[0] for name in names} <= ALLOWED | VENDORS.get(source.name, set())
    ours = {name for name in names if name.startswith("edgefleet_agent")}
    assert all((name + ".").startswith("edgefleet_agent.runner.") for name in ours)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_grammar_is_that_of_36(source: Path) -> None:
    ast.parse(source.read_text(), feature_version=(3, 6))


def test_vermin_finds_nothing_newer_than_36() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from vermin import main; main()", "-t=3.6-", "--no-tips", "--violations", str(RUNNER)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_real_36_compiles_every_file(python36: str, tmp_path: Path) -> None:
    for source in SOURCES:
        (tmp_path / source.name).write_bytes(source.read_bytes())
    done = subprocess.run(
        [python36, "-m", "compileall", "-q", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_real_36_starts_the_runner_from_the_archive(python36: str, tmp_path: Path) -> None:
    """Even without numpy it introduces itself, and ends when its stdin does."""
    archive = write_runner_archive(tmp_path / "runner.zip")
    child = subprocess.Popen(
        [python36, "-m", "edgefleet_agent.runner"],
        env=child_environment({}, [archive]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    hello = child.stdout.readline()  # read before stdin ends: at its end the runner goes at once
    child.stdin.close()
    child.stdout.close()
    child.wait(60)
    assert '"event": "hello"' in hello
    assert '"python": "3.6' in hello


def test_interpreter_without_numpy_is_runtime_unavailable(python36: str, tmp_path: Path) -> None:
    archive = write_runner_archive(tmp_path / "runner.zip")
    child = subprocess.Popen(
        [python36, "-S", "-m", "edgefleet_agent.runner"],  # -S: no site-packages, so no numpy
        env=child_environment({}, [archive]),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write('{"settings": {}}\n')
    child.stdin.flush()
    lines = [child.stdout.readline() for _ in range(2)]
    child.stdin.close()
    child.stdout.close()
    assert child.wait(60) == 3
    assert '"code": "runtime_unavailable"' in lines[1]
