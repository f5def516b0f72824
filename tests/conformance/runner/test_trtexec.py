"""TensorRT through trtexec: runs with a program that speaks NVIDIA's documented formats, by version.

The program (backends/fake_trtexec.py) and the formats are built from the documentation, not recorded from a real one.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgefleet_agent.measure.artifact import Bench, Subject, blob_ref, measure_artifact
from edgefleet_agent.measure.runtimes import Runtime
from edgefleet_agent.measure.subject import EngineStore
from edgefleet_agent.runner.trtexec import build_command, find_trtexec, parse_version, read_times
from edgefleet_agent.wire.messages import MeasureSettings
from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_agent.wire.samples import decode_samples

BACKENDS = Path(__file__).parent / "backends"
MANIFEST = {
    "inputs": [{"name": "x", "shape": ["N", 4], "dtype": "float32"}],
    "outputs": [{"name": "y", "shape": ["N", 3], "dtype": "float32"}],
}
SHAPES = {"x": {"min": [1, 4], "opt": [1, 4], "max": [64, 4]}}
PLAN = {"flags": ["fp16"], "workspace_bytes": 64 << 20, "shapes": SHAPES, "strongly_typed": False}
SETTINGS = MeasureSettings(
    batch=50, seconds=0.01, min_samples=80, max_seconds=5.0, warmup_seconds=0.0, warmup_iterations=3, deadline_s=60.0
)


@pytest.fixture
def run(subject: Callable[..., Subject], bench: Bench, tmp_path: Path) -> Callable[..., Any]:
    """Measure the linear model through the fake of a version."""
    known = {**bench.runtimes, "tensorrt": Runtime("tensorrt", "fake_trtexec_backend", (".onnx",), build_s=1.0)}
    tools = replace(bench, runtimes=known, engines=EngineStore(tmp_path / "engines", free_floor_bytes=0))

    def measure(version: str, plan: Any = PLAN, **changes: Any) -> Any:
        program = tmp_path / ("trtexec" + version)
        program.write_text(
            '#!/bin/sh\nexec {} {} {} "$@"\n'.format(sys.executable, BACKENDS / "fake_trtexec.py", version)
        )
        program.chmod(0o755)
        manifest = changes.pop("manifest", {**MANIFEST, "build_plan": plan})
        options = {"trtexec": str(program)}
        given = {"runtime": "tensorrt", "settings": SETTINGS, "manifest": manifest, "options": options, **changes}
        return measure_artifact(subject(**given), tools)

    return measure


class TestRuns:
    @pytest.mark.parametrize(
        ("version", "plan"),
        [
            ("8201", PLAN),
            ("110400", {**PLAN, "flags": [], "strongly_typed": True}),
        ],
    )
    def test_latency_is_that_of_trtexec_and_outputs_are_right(
        self, run: Any, evaluation_file: Path, version: str, plan: "dict[str, Any]"
    ) -> None:
        measured = run(version, plan=plan, evaluation_path=evaluation_file)
        report = measured.report
        assert report.error is None
        assert report.accuracy.n_correct == 40
        # every query of the fake: 0.1 ms in, 0.8 ms compute, 0.1 ms out; the five of the warm-up do not count
        assert report.latency_ms.n == 80
        assert report.latency_ms.p50 == pytest.approx(1.0)
        assert report.load.first_inference_ms is None
        assert report.load.build_ms > 0
        assert report.environment.runtime["driver"] == "trtexec"
        _, columns = decode_samples(measured.blobs["latency"])
        assert np.diff(columns["start_ns"]) == pytest.approx(1e6, abs=2)
        # 75 % of the fake's profile is in a layer of the GPU, the rest in one too: no layer runs on the CPU
        assert report.placement.shares == {"GPU": pytest.approx(1.0)}
        assert [(row.name, row.share) for row in report.placement.operators] == [
            ("CaskGemmMatrixMultiply", pytest.approx(0.75)),
            ("Reformat", pytest.approx(0.25)),
        ]

    def test_second_run_takes_the_kept_engine(self, run: Any) -> None:
        assert run("100300").report.load.engine_cached is False
        assert run("100300").report.load.engine_cached is True


class TestFaults:
    def test_operator_that_tensorrt_lacks_is_named(self, run: Any, tmp_path: Path) -> None:
        graph = helper.make_graph(
            [helper.make_node("Det", ["x"], ["y"])],
            "determinant",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
        )
        path = tmp_path / "det.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
        error = run("100300", path=path, artifact=blob_ref(path.read_bytes())).report.error
        assert error.code is ErrorCode.ENGINE_BUILD_FAILED
        assert any("No importer registered for op: Det" in word for word in error.detail["words"])

    def test_without_a_manifest_it_says_what_is_missing(self, run: Any) -> None:
        error = run("100300", manifest={}).report.error
        assert error.code is ErrorCode.NOT_SUPPORTED
        assert "manifest" in error.message

    def test_paced_modes_are_not_supported(self, run: Any) -> None:
        paced = MeasureSettings(**{**SETTINGS.model_dump(), "mode": "duty_cycle", "rate_per_s": 10.0})
        assert run("100300", settings=paced).report.error.code is ErrorCode.NOT_SUPPORTED


class TestCommands:
    @pytest.mark.parametrize(
        ("version", "plan", "wanted"),
        [
            ((8, 2, 1), PLAN, ["--buildOnly", "--workspace=64", "--fp16"]),
            ((8, 6, 1), PLAN, ["--skipInference", "--memPoolSize=workspace:64", "--fp16"]),
            ((10, 3, 0), {**PLAN, "flags": [], "strongly_typed": True}, ["--skipInference", "--stronglyTyped"]),
            ((11, 4, 0), {**PLAN, "flags": [], "strongly_typed": True}, ["--skipInference", "--maxShapes=x:64x4"]),
        ],
    )
    def test_build_takes_the_options_of_its_version(
        self, version: "tuple[int, ...]", plan: "dict[str, Any]", wanted: "list[str]"
    ) -> None:
        command = build_command("trtexec", version, "model.onnx", "engine", plan)
        assert set(wanted) <= set(command)
        assert ("--stronglyTyped" in command) == ("--stronglyTyped" in wanted)
        assert not any(option.startswith("--workspace") for option in command) or version < (8, 4)

    def test_name_with_a_colon_is_quoted(self) -> None:
        plan = {"shapes": {"input:0": {"min": [1, 3], "opt": [2, 3], "max": [4, 3]}}}
        assert "--optShapes='input:0':2x3" in build_command("trtexec", (10, 3), "m", "e", plan)

    @pytest.mark.parametrize(
        ("banner", "version"), [("v8201", "8.2.1"), ("v8501", "8.5.1"), ("v100300", "10.3.0"), ("v101602", "10.16.2")]
    )
    def test_version_is_read_from_the_banner(self, banner: str, version: str) -> None:
        assert parse_version("&&&& RUNNING TensorRT.trtexec [TensorRT {}] [b26] # trtexec".format(banner)) == version

    def test_queries_that_began_in_the_warm_up_do_not_count(self) -> None:
        entries = [
            {"startComputeMs": 199.9, "startH2dMs": 199.8, "latencyMs": 9.0},
            {"startComputeMs": 200.0, "startH2dMs": 199.9, "latencyMs": 1.5},
        ]
        assert read_times(entries, warmup_ms=200.0) == ([199.9], [1.5])

    def test_absent_program_is_not_found(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert find_trtexec() in (None, "/usr/src/tensorrt/bin/trtexec")
