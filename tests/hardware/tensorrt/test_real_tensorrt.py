"""The real thing: a GPU, TensorRT and CUDA. Skipped where one of them is missing; never run yet as of November 2026.

On a board: ``EDGEFLEET_TENSORRT_PYTHON=/usr/bin/python3 pytest tests/hardware/tensorrt -m hardware``. The interpreter
named there (else this one) must hold tensorrt and numpy; the agent itself runs under the test's Python.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgefleet_agent.inventory import probe_runtimes
from edgefleet_agent.measure.artifact import Bench, Subject, blob_ref, measure_artifact
from edgefleet_agent.measure.child_process import child_environment
from edgefleet_agent.measure.runner_archive import write_runner_archive
from edgefleet_agent.measure.runtimes import RUNTIMES, Runtime
from edgefleet_agent.measure.subject import EngineStore
from edgefleet_agent.runner.trtexec import find_trtexec
from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_agent.wire.reasons import ErrorCode

pytestmark = [pytest.mark.hardware, pytest.mark.gpu]

SETTINGS = MeasureSettings(seconds=1.0, min_samples=700, warmup_seconds=0.5, deadline_s=1800.0)
LEAST_SNR_DB = 50.0
"""Of float32 with TF32 products (10 bits of mantissa) against onnxruntime on the CPU, as runner.golden.ENOUGH_DB."""


@pytest.fixture(scope="module")
def interpreter() -> str:
    named = os.environ.get("EDGEFLEET_TENSORRT_PYTHON", sys.executable)
    found, failures = probe_runtimes({"tensorrt": named}, {"tensorrt": RUNTIMES["tensorrt"]})
    if not found:
        pytest.skip("{} can't run TensorRT: {}".format(named, failures[0].message))
    return named


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convolution, ReLU, global pooling and a linear layer: 3x32x32 -> 10, batch free."""
    rng = np.random.RandomState(0)
    weights: dict[str, Any] = {
        "w": rng.standard_normal((16, 3, 3, 3)).astype(np.float32) / 5,
        "v": rng.standard_normal((16, 10)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    path = tmp_path_factory.mktemp("network") / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
    return path


@pytest.fixture(scope="module")
def evaluation(network: Path) -> Path:
    """Samples labelled with onnxruntime's own answers."""
    x = np.random.RandomState(1).standard_normal((64, 3, 32, 32)).astype(np.float32)
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    scores = np.asarray(session.run(None, {"x": x})[0])
    path = network.with_name("evaluation.npz")
    np.savez(path, x=x, y=scores.argmax(axis=1))
    return path


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(engines=EngineStore(tmp_path_factory.mktemp("engines")))


def subject(network: Path, interpreter: str, **changes: Any) -> Subject:
    shapes = {"x": {"min": [1, 3, 32, 32], "opt": [1, 3, 32, 32], "max": [16, 3, 32, 32]}}
    plan = {"flags": [], "workspace_bytes": 256 << 20, "shapes": shapes, "strongly_typed": False}
    manifest = {
        "build_plan": plan,
        "inputs": [{"name": "x", "shape": ["N", 3, 32, 32], "dtype": "float32"}],
        "outputs": [{"name": "y", "shape": ["N", 10], "dtype": "float32"}],
    }
    base = Subject(network, blob_ref(network.read_bytes()), "tensorrt", SETTINGS, interpreter, manifest=manifest)
    return replace(base, **changes)


def test_engine_is_built_then_kept_and_answers_as_onnxruntime(
    network: Path, evaluation: Path, interpreter: str, bench: Bench
) -> None:
    first = measure_artifact(subject(network, interpreter, evaluation_path=evaluation), bench).report
    second = measure_artifact(subject(network, interpreter, evaluation_path=evaluation), bench).report
    for report in (first, second):
        assert report.error is None, report.error
        assert report.accuracy is not None
        assert report.accuracy.n_correct is not None
        assert report.accuracy.n_correct >= 63  # one near-tie may fall the other way under TF32
        assert report.latency_ms is not None
        assert report.latency_ms.p50 is not None
        assert report.placement is not None
        assert report.placement.accelerator_share == pytest.approx(1.0)
    assert first.load is not None
    assert second.load is not None
    assert (first.load.engine_cached, second.load.engine_cached) == (False, True)
    assert first.load.build_ms is not None


@pytest.mark.parametrize("memory", ["device", "mapped"])
def test_outputs_are_onnxruntimes_within_tf32(
    network: Path, evaluation: Path, interpreter: str, bench: Bench, memory: str, tmp_path: Path
) -> None:
    """The runner itself in a child of the interpreter, which leaves its outputs in a file."""
    script = (
        "import json, sys, numpy as np\n"
        "from edgefleet_agent.runner.backend import LoadRequest\n"
        "from edgefleet_agent.runner.tensorrt_ import open_model\n"
        "path, data, out, options = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4])\n"
        "model = open_model(LoadRequest(path, 1, options))\n"
        "x = np.load(data)['x'][:8]\n"
        "np.save(out, model.read_outputs(model.invoke(model.prepare({'x': x})))[0])\n"
    )
    plan = subject(network, interpreter).manifest["build_plan"]
    options = json.dumps({"memory": memory, "build_plan": plan})
    archive = write_runner_archive(tmp_path / "runner.zip")
    command = [interpreter, "-c", script, str(network), str(evaluation), str(tmp_path / "y.npy"), options]
    subprocess.run(command, check=True, env=child_environment(os.environ, [archive]), timeout=900)
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    wanted = np.asarray(session.run(None, {"x": np.load(evaluation)["x"][:8]})[0], dtype=np.float64)
    error = np.load(tmp_path / "y.npy") - wanted
    assert 10 * np.log10((wanted**2).sum() / (error**2).sum()) > LEAST_SNR_DB


def test_file_that_is_no_network_is_a_failed_build(interpreter: str, bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no network")
    broken = subject(path, interpreter)
    error = measure_artifact(broken, bench).report.error
    assert error is not None
    assert error.code is ErrorCode.ENGINE_BUILD_FAILED


def test_trtexec_gives_the_same_answers(network: Path, evaluation: Path, bench: Bench, tmp_path: Path) -> None:
    """The fallback, in an interpreter that is told to have no tensorrt."""
    if find_trtexec() is None or (shutil.which("nvidia-smi") is None and not Path("/etc/nv_tegra_release").exists()):
        pytest.skip("no trtexec or no NVIDIA GPU on this computer")
    backend = tmp_path / "trtexec_only_backend.py"
    backend.write_text(
        "from edgefleet_agent.runner.cuda_memory import CudaRuntime, load_library\n"
        "from edgefleet_agent.runner.trtexec_model import open_with_trtexec\n"
        "def open_model(request):\n"
        "    return open_with_trtexec(request, CudaRuntime(load_library()).gpu_facts(), None)\n"
    )
    known = {"tensorrt": Runtime("tensorrt", "trtexec_only_backend", (".onnx",), build_s=1800.0)}
    tools = replace(bench, runtimes=known, extra_import_path=(tmp_path,))
    settings = SETTINGS.model_copy(update={"batch": 16})
    report = measure_artifact(
        subject(network, sys.executable, settings=settings, evaluation_path=evaluation), tools
    ).report
    assert report.error is None, report.error
    assert report.accuracy is not None
    assert report.accuracy.n_correct is not None
    assert report.accuracy.n_correct >= 63
