"""The runner under LiteRT, and under tflite-runtime in its own interpreter."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgefleet_agent.inventory import probe_runtimes
from edgefleet_agent.measure.artifact import Bench, measure_artifact
from edgefleet_agent.measure.runtimes import RUNTIMES
from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_agent.wire.samples import decode_samples

if TYPE_CHECKING:
    from tests.conformance.runner.tflite.conftest import Files, MakeSubject

PACKAGES = {"litert": "ai-edge-litert", "tflite-runtime": "tflite-runtime"}


class TestMeasuredRun:
    def test_figures_come_from_the_raw_samples(self, subject: "MakeSubject", files: "Files", bench: Bench) -> None:
        measurement = measure_artifact(subject(files.linear), bench)

        assert measurement.report.error is None
        assert measurement.report.latency_ms is not None
        _, columns = decode_samples(measurement.blobs["latency"])
        assert measurement.report.latency_ms.n == len(columns["latency_ns"]) >= 70
        assert measurement.report.latency_ms.p50 == pytest.approx(np.percentile(columns["latency_ns"], 50) / 1e6)

    def test_runtime_is_its_own_package_under_its_own_interpreter(
        self, subject: "MakeSubject", files: "Files", bench: Bench, runtime: str, interpreter: str
    ) -> None:
        environment = measure_artifact(subject(files.linear), bench).report.environment

        assert environment is not None
        assert environment.runtime["package"] == PACKAGES[runtime]
        assert environment.runtime["interpreter"] == interpreter

    def test_accuracy_is_computed_on_the_device(
        self, subject: "MakeSubject", files: "Files", bench: Bench, evaluation_file: Path
    ) -> None:
        report = measure_artifact(subject(files.linear, evaluation_path=evaluation_file), bench).report

        assert report.accuracy is not None
        assert (report.accuracy.n, report.accuracy.n_correct) == (50, 40)

    def test_images_of_the_evaluation_set_are_transposed_for_a_channel_last_file(
        self, subject: "MakeSubject", files: "Files", bench: Bench, tmp_path: Path
    ) -> None:
        """The brighter of two channels is the class; read in the wrong order, both channels have the same mean."""
        labels = np.array([0, 1, 1, 0, 1])
        images = np.zeros((5, 2, 2, 3), np.float32)
        images[np.arange(5), labels] = np.arange(1, 6)[:, None, None]
        np.savez(tmp_path / "images.npz", x=images, y=labels)
        inputs = {"inputs": [{"name": "x", "layout": "NHWC"}]}

        report = measure_artifact(
            subject(files.image_means, evaluation_path=tmp_path / "images.npz", manifest=inputs), bench
        ).report

        assert report.error is None
        assert report.accuracy is not None
        assert report.accuracy.value == 1.0

    def test_delegate_can_be_left_out(self, subject: "MakeSubject", files: "Files", bench: Bench) -> None:
        settings = subject(files.linear).settings.model_copy(update={"delegate": "none"})
        plain = measure_artifact(subject(files.linear, settings=settings), bench).report.environment
        usual = measure_artifact(subject(files.linear), bench).report.environment

        assert plain is not None
        assert usual is not None
        assert (plain.runtime["delegate"], usual.runtime["delegate"]) == ("none", "xnnpack")


class TestFilesThatDoNotBelong:
    def test_file_compiled_for_the_edge_tpu_is_of_another_runtime(
        self, subject: "MakeSubject", files: "Files", bench: Bench
    ) -> None:
        error = measure_artifact(subject(files.edgetpu), bench).report.error

        assert error is not None
        assert error.code is ErrorCode.WRONG_RUNTIME

    @pytest.mark.parametrize("n_bytes", [0, 7, 100])
    def test_truncated_file_is_unreadable(
        self, subject: "MakeSubject", files: "Files", bench: Bench, tmp_path: Path, n_bytes: int
    ) -> None:
        (tmp_path / "cut.tflite").write_bytes(files.linear.read_bytes()[:n_bytes])
        error = measure_artifact(subject(tmp_path / "cut.tflite"), bench).report.error

        assert error is not None
        assert error.code in (ErrorCode.ARTIFACT_UNREADABLE, ErrorCode.RUNNER_CRASHED)

    def test_file_of_another_format_is_unreadable(
        self, subject: "MakeSubject", bench: Bench, onnx_file: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "onnx.tflite").write_bytes(onnx_file.read_bytes())
        error = measure_artifact(subject(tmp_path / "onnx.tflite"), bench).report.error

        assert error is not None
        assert error.code is ErrorCode.ARTIFACT_UNREADABLE

    def test_dynamic_integers_are_refused_where_they_give_garbage(
        self, subject: "MakeSubject", files: "Files", bench: Bench, runtime: str
    ) -> None:
        """For the input 0, 1, 2, 3 LiteRT answers -22.1, 2.0, 26.0 and tflite-runtime 2.14 answers 0, 0, 0."""
        error = measure_artifact(subject(files.hybrid), bench).report.error

        assert (error.code if error is not None else None) is (None if runtime == "litert" else ErrorCode.WRONG_RUNTIME)

    def test_unknown_delegate_is_named(self, subject: "MakeSubject", files: "Files", bench: Bench) -> None:
        settings = subject(files.linear).settings.model_copy(update={"delegate": "warp"})
        error = measure_artifact(subject(files.linear, settings=settings), bench).report.error

        assert error is not None
        assert error.code is ErrorCode.PROVIDER_UNAVAILABLE


class TestInventory:
    def test_runtime_is_found_in_the_interpreter_that_a_person_names(self, runtime: str, interpreter: str) -> None:
        found, failures = probe_runtimes({runtime: interpreter}, {runtime: RUNTIMES[runtime]})

        assert [(item.name, item.interpreter) for item in found] == [(runtime, interpreter)]
        assert failures == []

    def test_package_that_imports_but_builds_no_interpreter_is_not_found(self, tmp_path: Path) -> None:
        """As tflite-runtime beside numpy 2: it imports, and its Interpreter dies with SystemError."""
        package = tmp_path / "tflite_runtime"
        package.mkdir()
        (package / "__init__.py").write_text("__version__ = '2.14.0'\n")
        (package / "interpreter.py").write_text(
            "class OpResolverType: pass\n"
            "def Interpreter(**_):\n"
            "    raise SystemError('returned a result with an exception set')\n"
        )
        python = tmp_path / "python"
        python.write_text(f'#!/bin/sh\nPYTHONPATH="{tmp_path}:$PYTHONPATH" exec "{sys.executable}" "$@"\n')
        python.chmod(0o755)

        found, failures = probe_runtimes(
            {"tflite-runtime": str(python)}, {"tflite-runtime": RUNTIMES["tflite-runtime"]}
        )

        assert found == []
        assert "SystemError" in failures[0].message
