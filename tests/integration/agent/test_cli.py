"""``edgefleet-agent`` as a person runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgefleet_agent.wire.report import RunReport
from edgefleet_deploy.golden import GoldenPair, write_golden

ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
    )
    path = tmp_path / "relu.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
    return path


def run_cli(interpreter: str, state: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "EDGEFLEET_AGENT_STATE_DIR": str(state),
        "PYTHONPATH": str(ROOT / "agent"),
        "PYTHONWARNINGS": "error",
    }
    command = [interpreter, "-c", "import sys; from edgefleet_agent.cli import main; sys.exit(main())", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def python39() -> str:
    named = os.environ.get("EDGEFLEET_PY39")
    if not named:
        pytest.skip("EDGEFLEET_PY39 names no Python 3.9 with the agent's requirements")
    return named


@pytest.fixture(params=["own", "3.9"])
def cli(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """The command line under this Python and under 3.9, the oldest the agent supports."""
    interpreter = sys.executable if request.param == "own" else python39()
    return lambda *arguments: run_cli(interpreter, tmp_path / "state", *map(str, arguments))


def test_bench_writes_the_report_and_a_summary(cli: Run, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = cli("bench", model, "--seconds", "0.1", "--warmup-seconds", "0.01", "--json", out)
    assert done.returncode == 0, done.stderr
    report = RunReport.model_validate_json(out.read_text())
    figures = json.loads(out.read_text())
    assert report.error is None
    assert isinstance(figures["latency_ms"]["p50"], float)
    assert isinstance(figures["latency_ms"]["p90"], float)
    assert "verdict" in done.stdout


def test_bench_scores_an_evaluation_set(cli: Run, model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", x=np.eye(4, dtype=np.float32), y=np.array([0, 1, 2, 0]))
    arguments = ("--evaluation", tmp_path / "e.npz", "--seconds", "0.1", "--warmup-seconds", "0.01")
    done = cli("bench", model, *arguments)
    assert done.returncode == 0, done.stderr
    assert "accuracy  0.7500" in done.stdout


def test_bench_checks_golden_outputs(cli: Run, model: Path, tmp_path: Path) -> None:
    """Relu of the inputs passes; the inputs themselves do not."""
    x = np.random.RandomState(0).standard_normal((4, 4)).astype(np.float32)
    for name, reference in (("right", np.maximum(x, 0)), ("wrong", x)):
        pair = GoldenPair({"x": x}, {"y": reference}, {"y": None}, "random")
        (tmp_path / name).write_bytes(write_golden(pair))
    quick = ("--seconds", "0.05", "--warmup-seconds", "0.01")
    right = cli("bench", model, "--golden", tmp_path / "right", *quick)
    assert right.returncode == 0, right.stderr
    assert "golden    passed on 4 samples (y exact)" in right.stdout
    assert "placement CPUExecutionProvider 100.0% of the time" in right.stdout
    wrong = cli("bench", model, "--golden", tmp_path / "wrong", *quick)
    assert wrong.returncode == 1
    assert "wrong_output" in wrong.stderr


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("missing.onnx", None, "artifact_missing"),
        ("broken.onnx", b"nonsense", "artifact_unreadable"),
        ("model.xyz", b"nonsense", "unknown_runtime"),
    ],
)
def test_bench_that_cannot_measure_says_why_in_both_places(
    cli: Run, tmp_path: Path, name: str, content: "bytes | None", code: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = cli("bench", tmp_path / name, "--json", tmp_path / "out.json")
    assert done.returncode == 1
    assert code in done.stderr
    assert json.loads((tmp_path / "out.json").read_text())["error"]["code"] == code


def test_bench_refuses_settings_that_make_no_sense(cli: Run, model: Path) -> None:
    done = cli("bench", model, "--threads", "0")
    assert done.returncode != 0
    assert "--threads" in done.stderr


def test_doctor_names_board_and_runtimes(cli: Run) -> None:
    done = cli("doctor", "--json")
    assert done.returncode == 0, done.stderr
    findings = {finding["subject"]: finding for finding in json.loads(done.stdout)}
    assert findings["runtime onnxruntime"]["level"] == "ok"
    assert "board" in findings
    assert all(finding["advice"] for finding in findings.values() if finding["level"] != "ok")


def test_run_without_a_controller_says_what_to_give(cli: Run) -> None:
    done = cli("run")
    assert done.returncode == 1
    assert "--controller" in done.stderr


def test_settings_file_with_an_unknown_name_is_refused(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/agent.json").write_text('{"contoller": "http://x"}')
    done = cli("run")
    assert done.returncode == 1
    assert "contoller" in done.stderr


def test_second_agent_on_one_state_folder_is_refused(tmp_path: Path) -> None:
    from edgefleet_agent.cli.serve import only_agent_in
    from edgefleet_agent.errors import SettingsInvalid

    with only_agent_in(tmp_path), pytest.raises(SettingsInvalid, match="another agent"), only_agent_in(tmp_path):
        pytest.fail("two agents share one state folder")


def test_an_impossible_output_file_is_refused_before_anything_is_measured(
    cli: Run, model: Path, tmp_path: Path
) -> None:
    done = cli("bench", model, "--seconds", "60", "--json", tmp_path / "missing" / "out.json")
    assert done.returncode == 2
    assert "there is no folder" in done.stderr


def test_an_unusable_state_folder_is_a_coded_error(cli: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = cli(
        "run", "--controller", "http://127.0.0.1:9", "--join-token", "ejt_x", "--state-dir", tmp_path / "file" / "s"
    )
    assert done.returncode == 1
    assert "file_unusable" in done.stderr
    assert "Traceback" not in done.stderr
