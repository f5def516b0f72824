"""Bad artifacts and bad runtimes, with the real runner: a coded result each, and the agent takes its next run."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgefleet_agent.measure.artifact import Bench, blob_ref
from edgefleet_agent.measure.runtimes import RUNTIMES, Runtime
from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.comparison import ComparisonPlan
from edgefleet_agent.wire.messages import MeasureSettings, RuntimeFacts, SecondArtifact
from edgefleet_deploy.golden import GoldenPair, write_golden

BACKENDS = Path(__file__).parents[2] / "conformance/runner/backends"
QUICK = MeasureSettings(
    seconds=0.01, min_samples=1, max_seconds=5.0, warmup_seconds=0.0, warmup_iterations=1, deadline_s=120.0
)
INPUTS = np.random.RandomState(1).standard_normal((8, 4)).astype(np.float32)
WEIGHT = np.arange(12, dtype=np.float32).reshape(4, 3) - 6


def linear(weight: Any) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    content: bytes = model.SerializeToString()
    return content


GOOD = linear(WEIGHT)
GOLDEN = write_golden(GoldenPair({"x": INPUTS}, {"y": INPUTS @ WEIGHT}, {"y": None}, "random"))
SCRIPTED_GOLDEN = write_golden(GoldenPair({"x": INPUTS}, {"y": INPUTS[:, :3]}, {"y": None}, "random"))


class Board:
    """A rig with the real runner, which serves a bad order and then a good one."""

    def __init__(self, rig: Any, real_measure: Any) -> None:
        self.rig = rig
        rig.measure = real_measure
        rig.bench = Bench(
            runtimes={**RUNTIMES, "scripted": Runtime("scripted", "scripted_backend", (".json",))},
            extra_import_path=(BACKENDS,),
        )
        self.interpreters = dict.fromkeys(("onnxruntime", "scripted"), sys.executable)

    def serve(self, content: bytes, golden: "bytes | None" = None, runtime: str = "onnxruntime") -> JsonObject:
        """The report on the bad one; asserts that the good one after it was measured."""
        found = [
            RuntimeFacts(name=name, version="1", interpreter=path, python_version="3")
            for name, path in self.interpreters.items()
        ]
        self.rig.facts = self.rig.facts.model_copy(update={"runtimes": found})
        self._order("bad", content, golden, runtime)
        self._order("good", GOOD, GOLDEN, "onnxruntime")
        self.rig.agent().serve(max_runs=2)
        good, bad = (self.rig.controller.reports[(name, 1)] for name in ("good", "bad"))
        assert good["error"] is None
        assert good["golden"]["passed"]
        return bad  # type: ignore[no-any-return]

    def _order(self, name: str, content: bytes, golden: "bytes | None", runtime: str) -> None:
        blobs = self.rig.controller.blobs
        for blob in (content, golden or b""):
            blobs[blob_ref(blob).sha256] = blob
        ref = None if golden is None else blob_ref(golden)
        order = self.rig.order(name, artifact=blob_ref(content), settings=QUICK, golden=ref)
        self.rig.controller.orders[-1] = order.model_copy(update={"runtime": runtime})


@pytest.fixture
def board(rig: Any, real_measure: Any) -> Board:
    return Board(rig, real_measure)


def test_truncated_artifact(board: Board) -> None:
    report = board.serve(GOOD[:-20], GOLDEN)
    assert report["error"]["code"] == "artifact_unreadable"
    assert report["latency_ms"] is None


def test_artifact_of_another_runtime(board: Board) -> None:
    """Bytes 4 to 7 of a TFLite file are its identifier (schema.fbs, file_identifier)."""
    report = board.serve(b"\x20\x00\x00\x00TFL3" + bytes(200))
    assert report["error"]["code"] == "artifact_unreadable"
    assert "ONNX" in report["error"]["message"]


def test_runner_interpreter_that_is_gone(board: Board, tmp_path: Path) -> None:
    board.interpreters["scripted"] = str(tmp_path / "uninstalled/python")
    report = board.serve(b"{}", runtime="scripted")
    assert report["error"]["code"] == "interpreter_missing"
    assert "uninstalled/python" in report["error"]["message"]


def test_altered_weights_that_still_load(board: Board) -> None:
    report = board.serve(linear(WEIGHT[::-1].copy()), GOLDEN)
    assert report["error"]["code"] == "wrong_output"
    assert report["latency_ms"] is None
    assert report["golden"]["outputs"][0]["max_abs_error"] > 1


def test_runtime_that_returns_nan(board: Board) -> None:
    report = board.serve(json.dumps({"output": "nan"}).encode(), SCRIPTED_GOLDEN, "scripted")
    assert report["error"]["code"] == "wrong_output"
    assert report["golden"]["outputs"][0]["n_non_finite"] == 24
    assert "NaN" in report["error"]["message"]


@pytest.mark.parametrize(
    ("fault", "detail"), [("segfault", {"signal": "SIGSEGV"}), ("exit", {"exit_status": 7, "stderr": ["last words"]})]
)
def test_runtime_that_dies_in_the_golden_check(board: Board, fault: str, detail: JsonObject) -> None:
    report = board.serve(json.dumps({"later": fault}).encode(), SCRIPTED_GOLDEN, "scripted")
    assert report["error"]["code"] == "runner_crashed"
    assert detail.items() <= report["error"]["detail"].items()


def test_golden_outputs_of_another_model(board: Board) -> None:
    other = write_golden(GoldenPair({"image": INPUTS}, {"y": INPUTS}, {"y": None}, "random"))
    assert board.serve(linear(WEIGHT * 2), other)["error"]["code"] == "golden_data_invalid"


def test_comparison_with_an_artifact_that_is_wrong_here(board: Board) -> None:
    """Artifact B is checked like A: a faster wrong file is no faster file."""
    altered = linear(WEIGHT[::-1].copy())
    for blob in (altered, GOLDEN):
        board.rig.controller.blobs[blob_ref(blob).sha256] = blob
    second = SecondArtifact(
        runtime="onnxruntime", artifact=blob_ref(altered), artifact_name="model.onnx", golden=blob_ref(GOLDEN)
    )
    found = RuntimeFacts(name="onnxruntime", version="1", interpreter=sys.executable, python_version="3")
    board.rig.facts = board.rig.facts.model_copy(update={"runtimes": [found]})
    board.rig.controller.blobs[blob_ref(GOOD).sha256] = GOOD
    board.rig.order(
        artifact=blob_ref(GOOD),
        settings=QUICK,
        golden=blob_ref(GOLDEN),
        kind="ab",
        second=second,
        comparison=ComparisonPlan(n_pairs=12, block_seconds=0.001, block_min_samples=1),
    )
    board.rig.agent().serve(max_runs=1)
    report = board.rig.controller.reports[("run-1", 1)]
    assert report["error"]["code"] == "wrong_output"
    assert report["comparison"] is None
