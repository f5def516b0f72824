"""Models, interpreters and a scripted runtime for the runner's conformance suite."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgefleet_agent.measure.artifact import Bench, Limits, Measurement, Subject, blob_ref, measure_artifact
from edgefleet_agent.measure.runtimes import RUNTIMES, Runtime
from edgefleet_agent.wire.messages import MeasureSettings

BACKENDS = Path(__file__).parent / "backends"
PY36_CANDIDATES = ("~/.pyenv/versions/3.6.15/bin/python", "/usr/bin/python3.6")

QUICK = MeasureSettings(
    seconds=0.05, min_samples=70, max_seconds=5.0, warmup_seconds=0.0, warmup_iterations=3, deadline_s=60.0
)
"""Enough for p90, over in a moment."""


class Script(Protocol):
    """Measures a scripted artifact: keyword = moment, value = fault."""

    def __call__(self, *, bench: Bench | None = None, subject: Any = None, **faults: str) -> Measurement: ...


@pytest.fixture
def bench() -> Bench:
    """Knows the scripted runtime beside the real ones."""
    return Bench(
        runtimes={**RUNTIMES, "scripted": Runtime("scripted", "scripted_backend", (".json",))},
        extra_import_path=(BACKENDS,),
        limits=Limits(start_s=60.0, load_s=60.0, evaluate_s=60.0, margin_s=60.0, keepalive_s=0.02),
    )


@pytest.fixture
def script(tmp_path: Path, bench: Bench) -> Script:
    known = bench

    def run(*, bench: Bench | None = None, subject: Any = None, **faults: str) -> Measurement:
        path = tmp_path / "script.json"
        path.write_text(json.dumps(faults))
        default = Subject(path=path, artifact=blob_ref(path.read_bytes()), runtime="scripted", settings=QUICK)
        return measure_artifact(subject(default) if subject else default, bench or known)

    return run


@pytest.fixture(scope="session")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = x W on 4 features and 3 classes: small enough to check by hand."""
    weight = np.arange(12, dtype=np.float32).reshape(4, 3) - 6
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    path = tmp_path_factory.mktemp("model") / "linear.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
    return path


@pytest.fixture(scope="session")
def evaluation_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 samples whose labels are right for the linear model on the first 40 and wrong on the last 10."""
    x = np.random.RandomState(5).standard_normal((50, 4)).astype(np.float32)
    y = (x @ (np.arange(12, dtype=np.float32).reshape(4, 3) - 6)).argmax(axis=1)
    y[40:] = (y[40:] + 1) % 3
    path = tmp_path_factory.mktemp("data") / "evaluation.npz"
    np.savez(path, x=x, y=y)
    return path


@pytest.fixture
def subject(onnx_file: Path) -> Callable[..., Subject]:
    """The linear model on this interpreter, with changes."""
    base = Subject(path=onnx_file, artifact=blob_ref(onnx_file.read_bytes()), runtime="onnxruntime", settings=QUICK)
    return lambda **changes: replace(base, **changes)


@pytest.fixture(scope="session")
def python36() -> str:
    """A real Python 3.6: $EDGEFLEET_PY36, or one in a usual place. Its absence fails in CI and skips elsewhere."""
    named = os.environ.get("EDGEFLEET_PY36")
    places = [named] if named else [os.path.expanduser(place) for place in PY36_CANDIDATES]  # noqa: PTH111
    found = next((place for place in places if shutil.which(place)), None)
    if found is not None:
        return found
    if os.environ.get("CI") == "true":
        pytest.fail("CI needs a Python 3.6 (set EDGEFLEET_PY36)")
    pytest.skip("no Python 3.6 on this computer (set EDGEFLEET_PY36 to one)")


def has_module(interpreter: str, module: str) -> bool:
    """Can the interpreter import the module?"""
    done = subprocess.run([interpreter, "-c", "import " + module], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture(scope="session")
def python36_with_onnxruntime(python36: str) -> str:
    """A Python 3.6 that also holds numpy and onnxruntime 1.10, as on a Jetson Nano."""
    if not has_module(python36, "onnxruntime"):
        pytest.skip("{} holds no onnxruntime (pip install numpy==1.19.5 onnxruntime==1.10.0 there)".format(python36))
    return python36


@pytest.fixture(params=["own", "3.6"])
def interpreter(request: pytest.FixtureRequest) -> str:
    """Interpreters the conformance suite runs the runner under."""
    if request.param == "own":
        return sys.executable
    return str(request.getfixturevalue("python36_with_onnxruntime"))
