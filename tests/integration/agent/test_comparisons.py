"""``ab``, ``aa`` and ``profile`` with real runners."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgefleet_agent.cli import main
from edgefleet_agent.errors import MeasurementFailed
from edgefleet_agent.measure.paired import BlockPlan, ComparisonReport, compare_artifacts
from edgefleet_agent.measure.profile import read_profile
from edgefleet_agent.measure.profiled import ProfileReport
from edgefleet_agent.measure.subject import Bench, Subject
from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_agent.wire.reasons import ErrorCode, Reason, VerdictStatus
from edgefleet_agent.wire.report import BlobRef

QUICK = ("--blocks", "12", "--block-seconds", "0.005", "--interpreter", sys.executable)


@pytest.fixture
def chain(tmp_path: Path) -> Callable[[int], Path]:
    """A chain of n matrix products."""

    def write(n: int) -> Path:
        weight = numpy_helper.from_array(np.eye(128, dtype=np.float32), "w")
        nodes = [helper.make_node("MatMul", ["x" if i == 0 else f"y{i}", "w"], [f"y{i + 1}"]) for i in range(n)]
        graph = helper.make_graph(
            nodes,
            "chain",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [128, 128])],
            [helper.make_tensor_value_info(f"y{n}", TensorProto.FLOAT, [128, 128])],
            [weight],
        )
        path = tmp_path / f"chain{n}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
        return path

    return write


def test_ab_finds_twelve_products_slower_than_one(chain: Callable[[int], Path], tmp_path: Path) -> None:
    out = tmp_path / "ab.json"
    assert main(["ab", str(chain(1)), str(chain(12)), "--blocks", "12", *QUICK[2:], "--json", str(out)]) == 0
    report = ComparisonReport.model_validate_json(out.read_text())
    assert report.kind == "ab"
    assert report.outcome.value == "slower"
    assert report.interval[0] > 2
    assert "".join(block.side for block in report.blocks) == "ABBA" * 6


def test_aa_counts_comparisons_of_a_file_with_itself(
    chain: Callable[[int], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "aa.json"
    assert main(["aa", str(chain(1)), "--pairs", "2", *QUICK, "--json", str(out)]) == 0
    rate = json.loads(out.read_text())
    assert rate["n_comparisons"] == 2
    assert 0 <= rate["share"] <= 1
    said = capsys.readouterr()
    assert "2 comparisons" in said.out
    assert "2 of 2 comparisons" in said.err


def test_comparison_ends_with_a_whole_couple_when_its_time_is_over(chain: Callable[[int], Path]) -> None:
    path = chain(1)
    subject = Subject(
        path=path, artifact=BlobRef(sha256="0" * 64, size_bytes=1), runtime="onnxruntime", settings=MeasureSettings()
    )
    report = compare_artifacts(subject, subject, BlockPlan(n_pairs=400, seconds=0.01, max_seconds=0.001), Bench())
    assert report.kind == "aa"
    assert len(report.blocks) == 24


def test_a_side_that_computes_no_numbers_makes_the_comparison_invalid(
    chain: Callable[[int], Path], tmp_path: Path
) -> None:
    graph = helper.make_graph(
        [helper.make_node("Sub", ["x", "x"], ["z"]), helper.make_node("Div", ["z", "z"], ["y"])],
        "nan",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
    )
    broken = tmp_path / "nan.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), broken)
    out = tmp_path / "ab.json"
    assert main(["ab", str(chain(1)), str(broken), *QUICK, "--json", str(out)]) == 0
    verdict = ComparisonReport.model_validate_json(out.read_text()).verdict
    assert verdict.status is VerdictStatus.INVALID
    assert Reason.NON_FINITE_OUTPUT in verdict.reasons


@pytest.mark.parametrize("which", [0, 1])
def test_unreadable_side_is_a_coded_failure(chain: Callable[[int], Path], tmp_path: Path, which: int) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    files = [str(chain(1)), str(chain(1))]
    files[which] = str(tmp_path / "bad.onnx")
    assert main(["ab", *files, *QUICK]) == 1


def test_wrong_plan_and_missing_file_are_refused(chain: Callable[[int], Path], tmp_path: Path) -> None:
    path = str(chain(1))
    assert main(["ab", path, path, "--blocks", "1"]) == 1
    assert main(["aa", path, "--pairs", "0"]) == 1
    assert main(["profile", path, "--inferences", "0"]) == 1
    assert main(["profile", str(tmp_path / "missing.onnx")]) == 1


class TestProfile:
    def test_operators_of_a_chain_are_all_named(self, chain: Callable[[int], Path], tmp_path: Path) -> None:
        out = tmp_path / "profile.json"
        assert main(["profile", str(chain(5)), "--inferences", "10", *QUICK[4:], "--json", str(out)]) == 0
        report = ProfileReport.model_validate_json(out.read_text())
        assert [(row.operator, row.n_nodes) for row in report.operators] == [("MatMul", 5)]
        assert len(report.nodes) == 5
        assert sum(row.share for row in report.nodes) == pytest.approx(1.0)
        assert report.operators[0].provider == "CPUExecutionProvider"

    def test_only_the_last_inferences_count(self) -> None:
        def event(name: str, kind: str, dur: int) -> "dict[str, object]":
            return {"cat": "Node", "name": name, "dur": dur, "args": {"op_name": kind, "provider": "P"}}

        events = [
            {"cat": "Session", "name": "model_loading", "dur": 9999},
            event("c_kernel_time", "Conv", 900),
            event("c_fence_before", "Conv", 500),
            event("c_kernel_time", "Conv", 30),
            event("c_kernel_time", "Conv", 50),
            event("r_kernel_time", "Relu", 10),
            event("r_kernel_time", "Relu", 10),
        ]
        nodes, kinds = read_profile(events, 2)
        assert [(row.name, row.time_us, row.share) for row in nodes] == [("c", 40.0, 0.8), ("r", 10.0, 0.2)]
        assert [row.name for row in kinds] == ["Conv", "Relu"]

    def test_profile_without_kernels_is_refused(self) -> None:
        with pytest.raises(MeasurementFailed) as caught:
            read_profile([{"cat": "Session", "name": "x", "dur": 1}], 1)
        assert caught.value.error.code is ErrorCode.RUNNER_PROTOCOL
