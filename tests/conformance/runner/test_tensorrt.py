"""The runner's TensorRT backend on fakes of four API generations: what holds for onnxruntime holds here.

The fakes (backends/fake_tensorrt.py, fake_cudart.py) are built from NVIDIA's documentation; none of this ran on a GPU.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgefleet_agent.measure.artifact import Bench, Measurement, Subject, blob_ref, measure_artifact
from edgefleet_agent.measure.profiled import profile_artifact
from edgefleet_agent.measure.runtimes import Runtime
from edgefleet_agent.measure.subject import EngineStore
from edgefleet_agent.wire.reasons import ErrorCode, Reason, VerdictStatus
from edgefleet_agent.wire.samples import decode_samples

MakeSubject = Callable[..., Subject]

GENERATIONS = ["8.2.1", "8.6.1", "10.3.0", "11.4.0"]
WORKSPACE_BYTES = 64 << 20


def build_plan(**changes: Any) -> "dict[str, Any]":
    """As edgefleet_deploy.manifest.BuildPlan writes it."""
    shapes = {"x": {"min": [1, 4], "opt": [1, 4], "max": [8, 4]}}
    plan = {"runtime": "tensorrt", "flags": [], "workspace_bytes": WORKSPACE_BYTES, "shapes": shapes}
    return {**plan, "strongly_typed": False, "min_version": "8.2", "max_version": None, **changes}


@pytest.fixture
def bench(bench: Bench, tmp_path: Path) -> Bench:
    """Knows the fake TensorRT in place of the real one, and keeps engines."""
    fake = Runtime("tensorrt", "fake_tensorrt_backend", (".onnx",), build_s=1.0)
    store = EngineStore(tmp_path / "engines", max_bytes=1 << 20, free_floor_bytes=0)
    return replace(bench, runtimes={**bench.runtimes, "tensorrt": fake}, engines=store)


@pytest.fixture
def run(subject: MakeSubject, bench: Bench) -> "Callable[..., Measurement]":
    """Measure the linear model: ``fake`` goes to the fake, ``plan`` into the manifest, the rest into the subject."""

    def measure(*, fake: Any = None, plan: Any = None, options: Any = None, **changes: Any) -> Measurement:
        wanted = {"fake": {"version": "10.3.0", **(fake or {})}, **(options or {})}
        manifest = {"build_plan": build_plan() if plan is None else plan}
        one = subject(runtime="tensorrt", manifest=manifest, options=wanted, **changes)
        return measure_artifact(one, bench)

    return measure


def failure(measurement: Measurement) -> Any:
    report = measurement.report
    assert report.error is not None
    assert report.verdict.status is VerdictStatus.INVALID
    return report.error


class TestGenerations:
    @pytest.mark.parametrize("version", GENERATIONS)
    def test_run_is_whole_and_right(self, run: Any, evaluation_file: Path, version: str) -> None:
        """One run holds what the suite asks of onnxruntime in several: building one more engine costs a second."""
        settings = {"batch": 8}
        measured = run(fake={"version": version}, evaluation_path=evaluation_file, settings=with_batch(run, settings))
        report = measured.report
        assert report.error is None
        assert report.accuracy is not None
        assert (report.accuracy.n, report.accuracy.n_correct) == (50, 40)
        _, columns = decode_samples(measured.blobs["latency"])
        starts, latencies = np.array(columns["start_ns"]), np.array(columns["latency_ns"])
        assert report.latency_ms is not None
        assert report.latency_ms.n == len(latencies) >= 70
        assert report.latency_ms.p50 == pytest.approx(np.percentile(latencies, 50) / 1e6)
        assert (starts[1:] >= starts[:-1] + latencies[:-1]).all()
        assert report.memory is not None
        assert report.environment is not None
        assert report.environment.runtime["version"] == version
        assert report.environment.runtime["api"] == ("bindings" if version == "8.2.1" else "tensors")

    def test_real_36_runs_the_bindings_of_a_jetson_nano(
        self, run: Any, evaluation_file: Path, python36_with_onnxruntime: str
    ) -> None:
        changes = {"interpreter": python36_with_onnxruntime, "evaluation_path": evaluation_file}
        report = run(fake={"version": "8.2.1", "release": "R32.7.1"}, **changes).report
        assert report.error is None
        assert report.accuracy is not None
        assert report.accuracy.n_correct == 40
        assert report.environment is not None
        assert report.environment.runtime["python"].startswith("3.6")

    def test_mapped_memory_gives_the_same_answers(self, run: Any, evaluation_file: Path) -> None:
        report = run(options={"memory": "mapped"}, evaluation_path=evaluation_file).report
        assert report.accuracy is not None
        assert report.accuracy.n_correct == 40
        assert report.environment is not None
        assert report.environment.runtime["memory"] == "mapped"


def with_batch(_run: Any, settings: "dict[str, Any]") -> Any:
    """The suite's quick settings with changes."""
    from edgefleet_agent.wire.messages import MeasureSettings

    quick = {"seconds": 0.05, "min_samples": 70, "max_seconds": 5.0, "warmup_seconds": 0.0, "warmup_iterations": 3}
    return MeasureSettings(deadline_s=60.0, **quick, **settings)


class TestEngines:
    def test_engine_is_built_once_and_its_time_is_told_apart(self, run: Any, bench: Bench) -> None:
        first, second = run().report, run().report
        assert first.load is not None
        assert second.load is not None
        assert first.load.engine_cached is False
        assert first.load.build_ms > 0
        assert second.load.engine_cached is True
        assert second.load.build_ms is None
        assert bench.engines is not None
        assert len(list(bench.engines.folder.glob("*.engine"))) == 1

    def test_other_gpu_builds_another(self, run: Any, bench: Bench) -> None:
        run()
        report = run(fake={"gpu": "Fake Xavier", "capability": "7.2"}).report
        assert report.load is not None
        assert report.load.engine_cached is False
        assert bench.engines is not None
        assert len(list(bench.engines.folder.glob("*.engine"))) == 2

    def test_engine_of_another_gpu_under_the_right_key_is_built_again(self, run: Any, bench: Bench) -> None:
        """However it got there: TensorRT refuses to load it, and the run goes on with a new one."""
        run()
        exchange_capability(bench, "8.7", "7.2")
        report = run().report
        assert report.error is None
        assert report.load is not None
        assert report.load.engine_cached is False

    def test_damaged_engine_is_built_again(self, run: Any, bench: Bench) -> None:
        run()
        assert bench.engines is not None
        (path,) = bench.engines.folder.glob("*.engine")
        path.write_bytes(path.read_bytes()[:-1])
        report = run().report
        assert report.load is not None
        assert report.load.engine_cached is False

    def test_plan_reaches_the_builder(self, run: Any, bench: Bench) -> None:
        run(plan=build_plan(flags=["fp16", "int8"]))
        head = engine_head(bench)
        assert head["flags"] == ["FP16", "INT8"]
        assert head["workspace_bytes"] == WORKSPACE_BYTES
        assert head["profile"] == {"x": [[1, 4], [1, 4], [8, 4]]}

    def test_strongly_typed_network_is_asked_for_by_its_bit(self, run: Any, bench: Bench) -> None:
        """Bit 1 in 10, where bit 0 is the old EXPLICIT_BATCH; 11 needs none."""
        run(plan=build_plan(strongly_typed=True))
        assert engine_head(bench)["network_flags"] == 2

    def test_without_a_plan_the_batch_alone_is_taken(self, run: Any, bench: Bench) -> None:
        run(plan={}, options={"build_plan": None})
        assert engine_head(bench)["profile"] == {"x": [[1, 4], [1, 4], [1, 4]]}


def engine_head(bench: Bench) -> Any:
    """What the fake wrote into the engine about its build."""
    assert bench.engines is not None
    (path,) = bench.engines.folder.glob("*.engine")
    return json.loads(path.read_bytes().partition(b"\n")[2])


def exchange_capability(bench: Bench, old: str, new: str) -> None:
    """Put an engine for another GPU into the place of the cached one, with a valid checksum."""
    import hashlib

    assert bench.engines is not None
    (path,) = bench.engines.folder.glob("*.engine")
    head, _, content = path.read_bytes().partition(b"\n")
    changed = content.replace('"capability": "{}"'.format(old).encode(), '"capability": "{}"'.format(new).encode())
    assert changed != content
    sums = [hashlib.sha256(part).hexdigest().encode() for part in (content, changed)]
    path.write_bytes(head.replace(sums[0], sums[1]) + b"\n" + changed)


class TestFaults:
    def test_operator_that_tensorrt_lacks_is_named(self, run: Any, tmp_path: Path) -> None:
        node = helper.make_node("Det", ["x"], ["y"])
        graph = helper.make_graph(
            [node],
            "determinant",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
        )
        path = tmp_path / "det.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), path)
        error = failure(run(path=path, artifact=blob_ref(path.read_bytes())))
        assert error.code is ErrorCode.ENGINE_BUILD_FAILED
        assert "No importer registered for op: Det" in error.message
        assert error.detail["words"] == ["node 3: No importer registered for op: Det"]

    def test_truncated_file_is_a_failed_build(self, run: Any, onnx_file: Path, tmp_path: Path) -> None:
        path = tmp_path / "half.onnx"
        path.write_bytes(onnx_file.read_bytes()[:60])
        assert failure(run(path=path, artifact=blob_ref(path.read_bytes()))).code is ErrorCode.ENGINE_BUILD_FAILED

    def test_builder_without_memory_is_out_of_memory(self, run: Any) -> None:
        assert failure(run(fake={"fault": "build_oom"})).code is ErrorCode.OUT_OF_MEMORY

    def test_gpu_without_memory_is_out_of_memory(self, run: Any) -> None:
        error = failure(run(fake={"cuda_fault": "oom"}))
        assert error.code is ErrorCode.OUT_OF_MEMORY
        assert error.detail["cuda_error"] == "cudaErrorMemoryAllocation"

    def test_computer_without_a_gpu_has_no_usable_runtime(self, run: Any) -> None:
        error = failure(run(fake={"cuda_fault": "no_device"}))
        assert error.code is ErrorCode.RUNTIME_UNAVAILABLE
        assert "cudaErrorNoDevice" in error.message

    def test_cuda_error_of_an_inference_is_coded(self, run: Any) -> None:
        error = failure(run(fake={"cuda_fault": "illegal_address"}))
        assert error.code is ErrorCode.ACCELERATOR_ERROR
        assert error.detail["cuda_status"] == 700
        assert error.detail["during"] == "cudaStreamSynchronize"

    def test_inference_that_tensorrt_does_not_start_is_coded(self, run: Any) -> None:
        assert failure(run(fake={"fault": "refused"})).code is ErrorCode.ACCELERATOR_ERROR

    def test_nan_makes_the_run_invalid_but_keeps_it(self, run: Any) -> None:
        report = run(fake={"fault": "nan"}).report
        assert report.error is None
        assert report.verdict.status is VerdictStatus.INVALID
        assert Reason.NON_FINITE_OUTPUT in report.verdict.reasons

    @pytest.mark.parametrize(
        ("version", "plan", "words"),
        [
            ("8.2.1", {"min_version": "10.3"}, "for TensorRT 10.3 or later"),
            ("11.4.0", {"max_version": "11"}, "for TensorRT before 11"),
            ("11.4.0", {"flags": ["fp16"]}, "no builder flags fp16"),
            ("8.6.1", {"strongly_typed": True}, "strongly typed networks need TensorRT 10"),
        ],
    )
    def test_plan_for_another_version_is_refused(
        self, run: Any, bench: Bench, version: str, plan: "dict[str, Any]", words: str
    ) -> None:
        error = failure(run(fake={"version": version}, plan=build_plan(**plan)))
        assert error.code is ErrorCode.NOT_SUPPORTED
        assert words in error.message
        assert bench.engines is not None
        assert not bench.engines.folder.exists()  # refused before any time was spent

    def test_batch_beyond_the_profile_is_refused(self, run: Any) -> None:
        error = failure(run(settings=with_batch(run, {"batch": 9})))
        assert error.code is ErrorCode.UNSUPPORTED_INPUT
        assert "[9, 4]" in error.message


class TestPlacement:
    @pytest.mark.parametrize("version", GENERATIONS)
    def test_share_of_time_by_device_comes_from_the_layers(self, run: Any, version: str) -> None:
        """The fake's layers take 0.3 ms on the GPU and 0.1 ms on the DLA."""
        placement = run(fake={"version": version}).report.placement
        assert placement is not None
        assert placement.shares == {"GPU": pytest.approx(0.75), "DLA": pytest.approx(0.25)}
        assert placement.basis == "time"
        assert placement.accelerator_share == pytest.approx(1.0)

    def test_profile_names_layers_with_kind_and_time(self, subject: MakeSubject, bench: Bench) -> None:
        options = {"fake": {"version": "10.3.0"}}
        one = subject(runtime="tensorrt", manifest={"build_plan": build_plan()}, options=options)
        report = profile_artifact(one, bench, n_inferences=3)
        assert [(row.name, row.operator, row.provider) for row in report.nodes] == [
            ("linear", "CaskGemmMatrixMultiply", "GPU"),
            ("{DLA: head}", "DLA", "DLA"),
        ]
        assert report.nodes[0].time_us == pytest.approx(300.0)
        assert (report.nodes[0].precision, report.nodes[0].tactic) == ("FP32", "fake_tactic_0")


def test_real_backend_says_what_is_missing(subject: MakeSubject, bench: Bench) -> None:
    """No GPU machine has run this suite: where TensorRT is, tests/hardware/tensorrt is what to run."""
    real = replace(bench, runtimes={"tensorrt": Runtime("tensorrt", "edgefleet_agent.runner.tensorrt_", (".onnx",))})
    measured = measure_artifact(subject(runtime="tensorrt", interpreter=sys.executable), real)
    if measured.report.error is not None:
        assert measured.report.error.code is ErrorCode.RUNTIME_UNAVAILABLE
        assert "tensorrt" in measured.report.error.message
