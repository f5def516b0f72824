"""A runtime that computes something else than the artifact is caught before anything is timed."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgefleet_agent.measure.artifact import Measurement, Subject, measure_artifact
from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_deploy.golden import GoldenPair, write_golden

WEIGHT = np.arange(12, dtype=np.float32).reshape(4, 3) - 6
INPUTS = np.random.RandomState(3).standard_normal((8, 4)).astype(np.float32)


def pair(host_db: "float | None" = None, **changes: Any) -> GoldenPair:
    values: Mapping[str, Any] = {
        "inputs": {"x": INPUTS},
        "reference": {"y": INPUTS @ WEIGHT},
        "host_snr_db": {"y": host_db},
        "source": "random",
    }
    return GoldenPair(**{**values, **changes})


@pytest.fixture
def check(tmp_path: Path, subject: Callable[..., Subject]) -> Callable[..., Measurement]:
    """Measure the linear model, or a file in its place, with golden outputs."""

    def run(golden: "GoldenPair | bytes", **changes: Any) -> Measurement:
        path = tmp_path / "golden.npz"
        path.write_bytes(golden if isinstance(golden, bytes) else write_golden(golden))
        return measure_artifact(subject(golden_path=path, **changes))

    return run


def altered(onnx_file: Path, path: Path, change: Callable[[Any], Any]) -> Path:
    """The same model with other weights: it loads and runs as before."""
    model = onnx.load(onnx_file)
    weight = numpy_helper.to_array(model.graph.initializer[0]).copy()
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(change(weight), "w"))
    onnx.save(model, path)
    return path


class TestRightRuntime:
    def test_passes_and_the_report_has_the_figures(self, check: Any, interpreter: str) -> None:
        report = check(pair(), interpreter=interpreter).report
        assert report.error is None
        assert report.golden is not None
        assert report.golden.passed
        assert report.golden.n_samples == 8
        output = report.golden.outputs[0]
        assert output.name == "y"
        assert output.snr_db is None or output.snr_db > 120.0
        assert (output.n_clear_wrong, output.n_non_finite) == (0, 0)

    def test_a_batch_that_does_not_divide_the_samples_is_filled_up(self, check: Any, subject: Any) -> None:
        settings = subject().settings.model_copy(update={"batch": 3})
        assert check(pair(), settings=settings).report.golden.passed

    def test_six_decibel_below_the_host_pass(self, check: Any) -> None:
        """The reference is 30 dB away from the model: a host at 35 dB asks for 29."""
        reference = (INPUTS @ WEIGHT).astype(np.float64)
        noise = np.random.RandomState(0).standard_normal(reference.shape)
        noise *= np.sqrt(np.sum(reference**2) / np.sum(noise**2)) * 10 ** (-30 / 20)
        figures = check(pair(35.0, reference={"y": reference + noise})).report.golden.outputs[0]
        assert figures.required_snr_db == 29.0
        assert figures.snr_db == pytest.approx(30.0, abs=0.1)

    def test_without_golden_outputs_nothing_is_claimed(self, subject: Any) -> None:
        assert measure_artifact(subject()).report.golden is None


class TestWrongRuntime:
    def test_altered_weights_are_wrong_output_without_a_latency(
        self, check: Any, onnx_file: Path, tmp_path: Path, interpreter: str
    ) -> None:
        path = altered(onnx_file, tmp_path / "altered.onnx", lambda weight: weight[:, ::-1])
        report = check(pair(), path=path, interpreter=interpreter).report
        assert report.error.code is ErrorCode.WRONG_OUTPUT
        assert report.latency_ms is None
        assert not report.golden.passed
        assert report.golden.outputs[0].max_abs_error > 1.0
        assert "float network" in report.error.message
        assert "stderr" in report.error.detail

    def test_nan_is_wrong_output_with_its_count(self, check: Any, onnx_file: Path, tmp_path: Path) -> None:
        """One broken column of three, in eight samples: every naive figure of it would be nan or look perfect."""

        def break_first(weight: Any) -> Any:
            weight[:, 0] = np.nan
            return weight

        report = check(pair(), path=altered(onnx_file, tmp_path / "nan.onnx", break_first)).report
        assert report.error.code is ErrorCode.WRONG_OUTPUT
        assert report.golden.outputs[0].n_non_finite == 8
        assert report.golden.outputs[0].snr_db is None

    def test_scaled_weights_fall_below_a_quantized_hosts_snr(self, check: Any, onnx_file: Path, tmp_path: Path) -> None:
        """A tenth too much everywhere is 20 dB; a host at 30 dB asks for 24."""
        path = altered(onnx_file, tmp_path / "scaled.onnx", lambda weight: weight * np.float32(1.1))
        report = check(pair(30.0), path=path).report
        assert report.error.code is ErrorCode.WRONG_OUTPUT
        assert report.golden.outputs[0].snr_db == pytest.approx(20.0, abs=0.01)

    def test_a_crash_during_the_check_keeps_its_signal(self, script: Any, tmp_path: Path) -> None:
        def with_golden(subject: Subject) -> Subject:
            path = tmp_path / "golden.npz"
            path.write_bytes(write_golden(pair(reference={"y": INPUTS[:, :3]})))
            return replace(subject, golden_path=path)

        error = script(subject=with_golden, later="segfault").report.error
        assert error.code is ErrorCode.RUNNER_CRASHED
        assert error.detail["signal"] == "SIGSEGV"
        error = script(subject=with_golden, later="exit").report.error
        assert error.code is ErrorCode.RUNNER_CRASHED
        assert error.detail["stderr"][-1] == "last words"


class TestGoldenFile:
    @pytest.mark.parametrize(
        "golden",
        [
            b"no npz at all",
            write_golden(pair())[:-30],
            write_golden(pair(inputs={"other": INPUTS})),
            write_golden(pair(inputs={"x": INPUTS[:, :2]})),
            write_golden(pair(reference={"y": INPUTS[:, :2]})),
            write_golden(pair(reference={"y": INPUTS, "z": INPUTS}, host_snr_db={"y": None, "z": None})),
        ],
        ids=["text", "truncated", "other input", "other input shape", "other output shape", "one output too many"],
    )
    def test_one_that_does_not_fit_is_coded(self, check: Any, golden: bytes) -> None:
        error = check(golden).report.error
        assert error.code is ErrorCode.GOLDEN_DATA_INVALID
        assert json.dumps(error.detail)
