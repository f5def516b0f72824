"""The Edge TPU's backend in a real runner child, with packages in place of the vendors' that act as they do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgefleet_agent.inventory import ProbeFailure, probe_runtime
from edgefleet_agent.measure.artifact import Bench, Limits, Measurement, Subject, blob_ref, measure_artifact
from edgefleet_agent.measure.child_process import default_interpreter
from edgefleet_agent.measure.runner_archive import write_runner_archive
from edgefleet_agent.measure.runtimes import RUNTIMES, runtime_for_file
from edgefleet_agent.wire.messages import MeasureSettings, RuntimeFacts
from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_agent.wire.samples import decode_samples

BACKENDS = Path(__file__).parent / "backends"
QUICK = MeasureSettings(
    seconds=0.02, min_samples=70, max_seconds=5.0, warmup_seconds=0.0, warmup_iterations=3, deadline_s=60.0
)
COMPILED = b"\x1c\x00\x00\x00TFL3 edgetpu-custom-op"
PLAIN = b"\x1c\x00\x00\x00TFL3 CONV_2D"

INTERPRETER = "from fake_edgetpu import Interpreter, OpResolverType, load_delegate\n"
CORAL = "from fake_edgetpu import get_runtime_version, make_interpreter\n"
ABSENT = "raise ImportError('not installed')\n"
VENDORS = {
    "ai_edge_litert": {
        "ai_edge_litert/__init__.py": "__version__ = '2.3.0'\n",
        "ai_edge_litert/interpreter.py": INTERPRETER,
        "pycoral.py": "",  # the unrelated package of that name has no utils
    },
    "tflite_runtime": {
        "ai_edge_litert.py": ABSENT,
        "tflite_runtime/__init__.py": "__version__ = '2.14.0'\n",
        "tflite_runtime/interpreter.py": INTERPRETER,
        "pycoral.py": ABSENT,
    },
    "pycoral": {
        "ai_edge_litert.py": ABSENT,
        "tflite_runtime/__init__.py": "__version__ = '2.14.0'\n",
        "tflite_runtime/interpreter.py": INTERPRETER,
        "pycoral/__init__.py": "",
        "pycoral/utils/__init__.py": "",
        "pycoral/utils/edgetpu.py": CORAL,
    },
    "none": {"ai_edge_litert.py": ABSENT, "tflite_runtime.py": ABSENT, "pycoral.py": ABSENT},
}
"""Packages on the board, by what brings the interpreter."""

WRAPPER = """#!/bin/sh
PYTHONPATH="{}:{}:$PYTHONPATH" exec {} "$@"
"""
"""An interpreter that holds the packages."""

Run = Callable[..., Measurement]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Measure a file's content as if on a board with these packages; keywords script the fake."""

    def measure(
        content: bytes = COMPILED,
        *,
        vendor: str = "ai_edge_litert",
        options: "dict[str, Any] | None" = None,
        evaluation: "Path | None" = None,
        interpreter: "str | None" = None,
        **script: Any,
    ) -> Measurement:
        packages = install(tmp_path / "packages", vendor, script)
        path = tmp_path / "model.edgetpu.tflite"
        path.write_bytes(content)
        subject = Subject(
            path=path,
            artifact=blob_ref(content),
            runtime="edgetpu",
            settings=QUICK,
            interpreter=interpreter or default_interpreter(),
            evaluation_path=evaluation,
            options=options or {},
        )
        limits = Limits(start_s=60.0, load_s=60.0, evaluate_s=60.0, margin_s=60.0)
        return measure_artifact(subject, Bench(extra_import_path=(packages, BACKENDS), limits=limits))

    return measure


def install(folder: Path, vendor: str, script: "dict[str, Any]") -> Path:
    for name, text in VENDORS[vendor].items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "fake_edgetpu.json").write_text(json.dumps(script))
    return folder


def failure(measurement: Measurement) -> "tuple[ErrorCode, str]":
    report = measurement.report
    assert report.error is not None
    assert report.latency_ms is None
    return report.error.code, report.error.message


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """Samples that the input's scale of 0.05 holds exactly; 40 of 50 labels are right."""
    x = (np.random.RandomState(5).randint(-100, 100, (50, 4)) * 0.05).astype(np.float32)
    y = (x @ (np.arange(12, dtype=np.float32).reshape(4, 3) - 6)).argmax(axis=1)
    y[40:] = (y[40:] + 1) % 3
    np.savez(tmp_path / "evaluation.npz", x=x, y=y)
    return tmp_path / "evaluation.npz"


class TestMeasuredRun:
    @pytest.mark.parametrize("vendor", ["ai_edge_litert", "tflite_runtime", "pycoral"])
    def test_runs_under_every_interpreter_that_takes_the_delegate(self, run: Run, vendor: str) -> None:
        measurement = run(vendor=vendor)
        report = measurement.report

        assert report.error is None
        assert report.latency_ms is not None
        _, columns = decode_samples(measurement.blobs["latency"])
        assert report.latency_ms.n == len(columns["latency_ns"]) >= 70
        assert report.environment is not None
        runtime = report.environment.runtime
        assert (runtime["interpreter_package"], runtime["device"]) == (vendor, "any")

    def test_numbers_are_quantized_on_their_way_in(self, run: Run, evaluation: Path, interpreter: str) -> None:
        """Under this Python and under 3.6, older than the 3.7 of Mendel on the Dev Board."""
        accuracy = run(evaluation=evaluation, interpreter=interpreter).report.accuracy

        assert accuracy is not None
        assert (accuracy.n, accuracy.n_correct) == (50, 40)

    def test_wholly_compiled_file_is_all_on_the_accelerator(self, run: Run) -> None:
        placement = run().report.placement

        assert placement is not None
        assert (placement.shares, placement.accelerator_share) == ({"edgetpu": 1.0}, 1.0)
        assert placement.n_operators == {"edgetpu": 1}

    def test_partly_compiled_file_has_the_manifests_share(self, run: Run) -> None:
        placement = run(on_cpu=["GELU", "CONV_2D"], options={"macs_share": 0.75}).report.placement

        assert placement is not None
        assert (placement.shares, placement.basis) == ({"edgetpu": 0.75, "cpu": 0.25}, "macs")
        assert placement.n_operators == {"edgetpu": 1, "cpu": 2}

    def test_partly_compiled_file_without_a_manifest_has_an_unknown_share(self, run: Run) -> None:
        placement = run(on_cpu=["GELU"]).report.placement

        assert placement is not None
        assert (placement.shares, placement.accelerator_share) == ({}, None)
        assert placement.reason is not None

    def test_interpreter_that_lists_no_operators_leaves_the_placement_unknown(self, run: Run) -> None:
        report = run(lists=False).report

        assert report.error is None
        assert report.placement is not None
        assert report.placement.reason == "this interpreter does not list its operators"

    @pytest.mark.parametrize("device", ["usb", "usb:0", ":0"])
    def test_device_is_chosen_as_libedgetpu_does(self, run: Run, device: str) -> None:
        report = run(options={"device": device}, devices=[device]).report

        assert report.environment is not None
        assert report.environment.runtime["device"] == device


class TestRefusedRun:
    def test_plain_file_would_run_on_the_cpu(self, run: Run) -> None:
        code, message = failure(run(PLAIN))

        assert code is ErrorCode.NOT_ACCELERATED
        assert "coral-usb" in message

    def test_part_that_was_not_taken_fails_the_run(self, run: Run) -> None:
        """The silent fallback: everything loads, and the accelerator has nothing to do."""
        code, message = failure(run(n_taken=0))

        assert code is ErrorCode.NOT_ACCELERATED
        assert "0 of the 1" in message

    def test_part_that_no_one_resolves_fails_the_run(self, run: Run) -> None:
        unresolved = "Encountered unresolved custom op: edgetpu-custom-op."
        assert failure(run(allocate=unresolved))[0] is ErrorCode.NOT_ACCELERATED

    @pytest.mark.parametrize("vendor", ["ai_edge_litert", "pycoral"])
    def test_no_device_is_named_with_what_to_check(self, run: Run, vendor: str) -> None:
        code, message = failure(run(vendor=vendor, devices=[]))

        assert code is ErrorCode.ACCELERATOR_MISSING
        assert "18d1:9302" in message
        assert "plugdev" in message

    def test_other_device_than_the_one_there_is_missing(self, run: Run) -> None:
        code, message = failure(run(options={"device": "pci:0"}, devices=["", "usb"]))

        assert code is ErrorCode.ACCELERATOR_MISSING
        assert "Edge TPU pci:0" in message

    @pytest.mark.parametrize("device", ["gpu", "usb:x", "usb:0:1", 3])
    def test_device_that_makes_no_sense_is_refused(self, run: Run, device: Any) -> None:
        assert failure(run(options={"device": device}))[0] is ErrorCode.NOT_SUPPORTED

    def test_absent_library_is_named(self, run: Run) -> None:
        code, message = failure(run(library="missing"))

        assert code is ErrorCode.RUNTIME_UNAVAILABLE
        assert "libedgetpu1-std" in message

    def test_absent_interpreter_is_named(self, run: Run) -> None:
        assert failure(run(vendor="none"))[0] is ErrorCode.RUNTIME_UNAVAILABLE

    @pytest.mark.parametrize("content", [b"", b"no model", COMPILED + b"truncated"])
    def test_damaged_file_is_unreadable(self, run: Run, content: bytes) -> None:
        assert failure(run(content))[0] is ErrorCode.ARTIFACT_UNREADABLE

    def test_file_for_a_newer_runtime_is_unreadable_with_both_versions(self, run: Run) -> None:
        # words of libedgetpu, as quoted in github jsk-ros-pkg/coral_usb_ros, pull request 78
        words = "Package requires runtime version (15), which is newer than this runtime version (14)."
        code, message = failure(run(vendor="pycoral", allocate="Failed to prepare for TPU. " + words))

        assert code is ErrorCode.ARTIFACT_UNREADABLE
        assert words in message
        assert "(runtime version 14)" in message


class TestOtherRuntimes:
    def test_compiled_file_is_refused_by_a_cpu_interpreter(self, tmp_path: Path) -> None:
        packages = install(tmp_path / "packages", "ai_edge_litert", {})
        path = tmp_path / "model_edgetpu.tflite"
        path.write_bytes(COMPILED)
        subject = Subject(path=path, artifact=blob_ref(COMPILED), runtime="litert", settings=QUICK)

        code, message = failure(measure_artifact(subject, Bench(extra_import_path=(packages, BACKENDS))))
        assert code is ErrorCode.WRONG_RUNTIME
        assert "Edge TPU" in message

    @pytest.mark.parametrize(
        ("name", "runtime"),
        [
            ("a_edgetpu.tflite", "edgetpu"),
            ("model.edgetpu.tflite", "edgetpu"),
            ("a.tflite", "litert"),
            ("a.onnx", "onnxruntime"),
        ],
    )
    def test_name_of_a_compiled_file_tells_its_runtime(self, name: str, runtime: str) -> None:
        found = runtime_for_file(Path(name))
        assert found is not None
        assert found.name == runtime


class TestProbe:
    @pytest.fixture
    def answer(self, tmp_path: Path) -> "Callable[[str], RuntimeFacts | ProbeFailure]":
        def ask(vendor: str) -> "RuntimeFacts | ProbeFailure":
            packages = install(tmp_path / "packages", vendor, {})
            python = tmp_path / "python"
            python.write_text(WRAPPER.format(packages, BACKENDS, default_interpreter()))
            python.chmod(0o755)
            archive = write_runner_archive(tmp_path / "runner.zip")
            return probe_runtime(RUNTIMES["edgetpu"], str(python), archive)

        return ask

    def test_version_is_that_of_libedgetpu(self, answer: "Callable[[str], RuntimeFacts | ProbeFailure]") -> None:
        facts = answer("pycoral")

        assert isinstance(facts, RuntimeFacts)
        assert (facts.version, facts.providers) == ("14", ["tflite_runtime", "pycoral"])

    def test_interpreter_without_libedgetpu_is_no_edge_tpu_runtime(
        self, answer: "Callable[[str], RuntimeFacts | ProbeFailure]"
    ) -> None:
        found = answer("ai_edge_litert")

        assert isinstance(found, ProbeFailure)
        assert "libedgetpu1-std" in found.message
