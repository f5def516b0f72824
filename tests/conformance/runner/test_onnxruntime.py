"""The runner with a real runtime, under this Python and under 3.6."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgefleet_agent.measure.artifact import Bench, Subject, measure_artifact
from edgefleet_agent.wire.reasons import ErrorCode, Provenance, Reason, VerdictStatus
from edgefleet_agent.wire.samples import decode_samples

MakeSubject = Callable[..., Subject]


class TestMeasuredRun:
    def test_figures_come_from_the_raw_samples(self, subject: MakeSubject, interpreter: str, bench: Bench) -> None:
        measurement = measure_artifact(subject(interpreter=interpreter), bench)
        report = measurement.report
        assert report.error is None
        assert report.latency_ms is not None
        _, columns = decode_samples(measurement.blobs["latency"])
        assert report.latency_ms.n == len(columns["latency_ns"]) >= 70
        assert report.latency_ms.p50 == pytest.approx(np.percentile(columns["latency_ns"], 50) / 1e6)
        assert report.latency_ms.p90 is not None

    def test_p99_needs_662_samples(self, subject: MakeSubject, bench: Bench) -> None:
        settings = subject().settings.model_copy(update={"seconds": 1e-6, "min_samples": 661})
        few = measure_artifact(subject(settings=settings), bench).report.latency_ms
        enough = measure_artifact(
            subject(settings=settings.model_copy(update={"min_samples": 662})), bench
        ).report.latency_ms
        assert few is not None
        assert few.p99 is None
        assert few.reasons == {"p99": Reason.TOO_FEW_SAMPLES}
        assert enough is not None
        assert enough.p99 is not None

    def test_starts_are_ordered_and_inferences_do_not_overlap(self, subject: MakeSubject, bench: Bench) -> None:
        blobs = measure_artifact(subject(), bench).blobs
        header, columns = decode_samples(blobs["latency"])
        starts, latencies = np.array(columns["start_ns"]), np.array(columns["latency_ns"])
        assert header["clock"] == "CLOCK_MONOTONIC"
        assert (starts[1:] >= starts[:-1] + latencies[:-1]).all()
        assert (latencies > 0).all()

    def test_warm_up_is_kept_apart(self, subject: MakeSubject, bench: Bench) -> None:
        measurement = measure_artifact(subject(), bench)
        load = measurement.report.load
        assert load is not None
        _, columns = decode_samples(measurement.blobs["warmup"])
        assert load.n_warmup == len(columns["latency_ns"]) == 3

    def test_memory_and_conditions_are_recorded(self, subject: MakeSubject, interpreter: str, bench: Bench) -> None:
        report = measure_artifact(subject(interpreter=interpreter), bench).report
        assert report.environment is not None
        assert report.environment.runtime["interpreter"] == interpreter
        assert report.environment.after.monotonic_ns > report.environment.before.monotonic_ns
        assert report.memory is not None
        if report.memory.reason is None:
            assert report.memory.peak_memory_bytes is not None
            assert report.memory.after_load_bytes is not None
            assert report.memory.peak_memory_bytes >= report.memory.after_load_bytes

    def test_energy_without_a_sensor_is_null_with_its_reason(self, subject: MakeSubject, bench: Bench) -> None:
        report = measure_artifact(subject(), bench).report
        assert report.provenance is Provenance.MEASURED
        assert report.energy is not None
        assert report.energy.value_mj is None
        assert report.energy.reason is Reason.NO_SENSOR

    def test_phases_come_in_order(self, subject: MakeSubject, bench: Bench, evaluation_file: Path) -> None:
        seen: list[str] = []
        watching = replace(bench, on_phase=lambda phase, _silent: seen.append(phase))
        measure_artifact(subject(evaluation_path=evaluation_file), watching)
        in_order = [phase for i, phase in enumerate(seen) if i == 0 or phase != seen[i - 1]]
        assert in_order == ["load", "warmup", "measure", "evaluate"]


class TestAccuracy:
    def test_share_of_correct_samples_is_computed_on_the_device(
        self, subject: MakeSubject, interpreter: str, bench: Bench, evaluation_file: Path
    ) -> None:
        measurement = measure_artifact(subject(interpreter=interpreter, evaluation_path=evaluation_file), bench)
        accuracy = measurement.report.accuracy
        assert accuracy is not None
        assert (accuracy.n, accuracy.n_correct, accuracy.value) == (50, 40, 0.8)
        # Wilson 95 % interval of 40 in 50: R's prop.test(40, 50, correct = FALSE)
        assert accuracy.interval == pytest.approx((0.6696, 0.8876), abs=5e-5)
        _, columns = decode_samples(measurement.blobs["predictions"])
        assert len(columns["prediction"]) == 50
        assert columns["sample"] == list(range(50))

    @pytest.mark.parametrize("batch", [1, 7, 50, 64])
    def test_accuracy_does_not_depend_on_the_batch(
        self, subject: MakeSubject, bench: Bench, evaluation_file: Path, batch: int
    ) -> None:
        settings = subject().settings.model_copy(update={"batch": batch})
        report = measure_artifact(subject(settings=settings, evaluation_path=evaluation_file), bench).report
        assert report.accuracy is not None
        assert report.accuracy.n_correct == 40

    def test_no_labels_and_no_data_are_told_apart(self, subject: MakeSubject, bench: Bench, tmp_path: Path) -> None:
        np.savez(tmp_path / "unlabelled.npz", x=np.ones((5, 4), np.float32))
        unlabelled = measure_artifact(subject(evaluation_path=tmp_path / "unlabelled.npz"), bench).report.accuracy
        nothing = measure_artifact(subject(), bench).report.accuracy
        assert unlabelled is not None
        assert unlabelled.reason is Reason.NO_LABELS
        assert nothing is not None
        assert nothing.reason is Reason.NO_EVALUATION_DATA

    def test_limit_draws_from_every_class_and_says_which_samples(
        self, subject: MakeSubject, bench: Bench, evaluation_file: Path, interpreter: str
    ) -> None:
        """The wrong ones are the last ten of fifty: the first twenty would all be right, a fair draw holds some."""
        settings = subject().settings.model_copy(update={"evaluation_limit": 20, "seed": 7})
        measurement = measure_artifact(
            subject(settings=settings, evaluation_path=evaluation_file, interpreter=interpreter), bench
        )
        accuracy = measurement.report.accuracy
        assert accuracy is not None
        assert (accuracy.n, accuracy.n_available, accuracy.sampling) == (20, 50, "stratified")
        _, columns = decode_samples(measurement.blobs["predictions"])
        n_right = sum(sample < 40 for sample in columns["sample"])
        assert accuracy.n_correct == n_right < 20


class TestBadInput:
    @pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07\x12"])
    def test_damaged_model_is_unreadable(
        self, subject: MakeSubject, bench: Bench, tmp_path: Path, content: bytes, interpreter: str
    ) -> None:
        (tmp_path / "bad.onnx").write_bytes(content)
        report = measure_artifact(subject(path=tmp_path / "bad.onnx", interpreter=interpreter), bench).report
        assert report.error is not None
        assert report.error.code is ErrorCode.ARTIFACT_UNREADABLE

    @pytest.mark.parametrize(
        "arrays",
        [
            {"z": np.ones((5, 4), np.float32)},
            {"x": np.ones((5, 3), np.float32)},
            {"x": np.ones((0, 4), np.float32)},
            {"x": np.ones((5, 4), np.float32), "y": np.zeros(4, np.int64)},
            {"x": np.array([["a"] * 4])},
        ],
        ids=["other name", "other shape", "empty", "labels of another length", "text"],
    )
    def test_unfitting_evaluation_data_is_named(
        self, subject: MakeSubject, bench: Bench, tmp_path: Path, arrays: "dict[str, np.ndarray]"
    ) -> None:
        np.savez(tmp_path / "bad.npz", **arrays)  # type: ignore[arg-type]
        report = measure_artifact(subject(evaluation_path=tmp_path / "bad.npz"), bench).report
        assert report.error is not None
        assert report.error.code is ErrorCode.EVALUATION_DATA_INVALID

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 truncated", b"\x80\x04N."])
    def test_unreadable_evaluation_file_is_refused(
        self, subject: MakeSubject, bench: Bench, tmp_path: Path, content: bytes
    ) -> None:
        (tmp_path / "bad.npz").write_bytes(content)
        report = measure_artifact(subject(evaluation_path=tmp_path / "bad.npz"), bench).report
        assert report.error is not None
        assert report.error.code is ErrorCode.EVALUATION_DATA_INVALID

    def test_pickled_evaluation_data_is_never_loaded(self, subject: MakeSubject, bench: Bench, tmp_path: Path) -> None:
        np.savez(tmp_path / "pickled.npz", x=np.array([{"a": 1}], dtype=object))
        report = measure_artifact(subject(evaluation_path=tmp_path / "pickled.npz"), bench).report
        assert report.error is not None
        assert report.error.code is ErrorCode.EVALUATION_DATA_INVALID

    def test_text_input_is_unsupported(self, subject: MakeSubject, bench: Bench, tmp_path: Path) -> None:
        graph = helper.make_graph(
            [helper.make_node("Identity", ["x"], ["y"])],
            "text",
            [helper.make_tensor_value_info("x", TensorProto.STRING, [1])],
            [helper.make_tensor_value_info("y", TensorProto.STRING, [1])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
        onnx.save(model, tmp_path / "text.onnx")
        report = measure_artifact(subject(path=tmp_path / "text.onnx"), bench).report
        assert report.error is not None
        assert report.error.code is ErrorCode.UNSUPPORTED_INPUT

    def test_fixed_batch_refuses_another(self, subject: MakeSubject, bench: Bench, tmp_path: Path) -> None:
        graph = helper.make_graph(
            [helper.make_node("Relu", ["x"], ["y"])],
            "fixed",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
        onnx.save(model, tmp_path / "fixed.onnx")
        settings = subject().settings
        fits = measure_artifact(subject(path=tmp_path / "fixed.onnx"), bench).report
        other = measure_artifact(
            subject(path=tmp_path / "fixed.onnx", settings=settings.model_copy(update={"batch": 3})), bench
        ).report
        assert fits.environment is not None
        assert fits.environment.settings["batch_used"] == 2
        assert other.error is not None
        assert other.error.code is ErrorCode.UNSUPPORTED_INPUT

    def test_missing_interpreter_is_named(self, subject: MakeSubject, bench: Bench) -> None:
        report = measure_artifact(subject(interpreter="/nowhere/python3"), bench).report
        assert report.error is not None
        assert report.error.code is ErrorCode.INTERPRETER_MISSING
        assert report.verdict.status is VerdictStatus.INVALID

    def test_unknown_runtime_is_named(self, subject: MakeSubject, bench: Bench) -> None:
        report = measure_artifact(subject(runtime="abacus"), bench).report
        assert report.error is not None
        assert report.error.code is ErrorCode.UNKNOWN_RUNTIME


class TestProvider:
    def test_the_provider_is_recorded(self, subject: MakeSubject, interpreter: str, bench: Bench) -> None:
        settings = subject().settings.model_copy(update={"provider": "cpu"})
        report = measure_artifact(subject(settings=settings, interpreter=interpreter), bench).report
        assert report.environment is not None
        assert report.environment.settings["provider"] == "cpu"
        assert report.environment.runtime["providers"] == ["CPUExecutionProvider"]

    def test_an_unknown_provider_fails_the_run(self, subject: MakeSubject, interpreter: str, bench: Bench) -> None:
        settings = subject().settings.model_copy(update={"provider": "NoSuchExecutionProvider"})
        report = measure_artifact(subject(settings=settings, interpreter=interpreter), bench).report
        assert report.error is not None
        assert report.error.code is ErrorCode.PROVIDER_UNAVAILABLE
        assert "CPUExecutionProvider" in report.error.message
