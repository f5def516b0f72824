"""A runtime that crashes, hangs, lies or dies costs one run and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgefleet_agent.errors import MeasurementFailed
from edgefleet_agent.measure.artifact import Bench, Limits, Measurement
from edgefleet_agent.measure.child_process import child_environment
from edgefleet_agent.measure.runner_archive import write_runner_archive
from edgefleet_agent.measure.runtimes import Runtime
from edgefleet_agent.wire.base import JsonObject
from edgefleet_agent.wire.reasons import ErrorCode, Reason, VerdictStatus

MOMENTS = ["load", "first", "later"]


def failure(measurement: Measurement) -> "tuple[ErrorCode, JsonObject]":
    report = measurement.report
    assert report.error is not None
    assert report.latency_ms is None
    assert report.verdict.status is VerdictStatus.INVALID
    return report.error.code, report.error.detail


class TestRunnerEnds:
    @pytest.mark.parametrize("moment", MOMENTS)
    def test_crash_is_reported_with_its_signal(self, script: Any, moment: str) -> None:
        code, detail = failure(script(**{moment: "segfault"}))
        assert code is ErrorCode.RUNNER_CRASHED
        assert detail["signal"] == "SIGSEGV"

    @pytest.mark.parametrize("moment", MOMENTS)
    def test_kill_is_told_from_a_crash(self, script: Any, moment: str) -> None:
        code, detail = failure(script(**{moment: "kill"}))
        assert code is ErrorCode.RUNNER_KILLED
        assert detail["signal"] == "SIGKILL"

    def test_kill_beside_a_kernel_oom_kill_is_out_of_memory(self, script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        counts = iter([4, 5])
        monkeypatch.setattr("edgefleet_agent.measure.child_process.read_oom_kills", lambda: next(counts))
        assert failure(script(later="kill"))[0] is ErrorCode.OUT_OF_MEMORY

    def test_exit_status_and_last_words_are_kept(self, script: Any) -> None:
        code, detail = failure(script(first="exit"))
        assert code is ErrorCode.RUNNER_CRASHED
        assert detail["exit_status"] == 7
        assert detail["stderr"][-1] == "last words"

    def test_exit_without_a_result_breaks_the_protocol(self, script: Any) -> None:
        assert failure(script(first="exit_0"))[0] is ErrorCode.RUNNER_PROTOCOL

    def test_exception_is_reported_with_its_traceback(self, script: Any) -> None:
        code, detail = failure(script(later="exception"))
        assert code is ErrorCode.RUNNER_CRASHED
        assert "ValueError: scripted failure" in detail["traceback"][-1]

    def test_memory_error_is_out_of_memory(self, script: Any) -> None:
        assert failure(script(first="memory"))[0] is ErrorCode.OUT_OF_MEMORY

    def test_coded_failure_of_a_backend_is_kept(self, script: Any) -> None:
        assert failure(script(load="unreadable"))[0] is ErrorCode.ARTIFACT_UNREADABLE

    def test_missing_vendor_module_is_runtime_unavailable(self, script: Any, bench: Bench) -> None:
        absent = replace(bench, runtimes={"scripted": Runtime("scripted", "no_such_vendor_module", ())})
        assert failure(script(bench=absent))[0] is ErrorCode.RUNTIME_UNAVAILABLE


class TestRunnerMisbehaves:
    @pytest.mark.parametrize("fault", ["hang", "hang_with_lock"])
    def test_hang_is_ended(self, script: Any, bench: Bench, fault: str) -> None:
        limits = Limits(start_s=60.0, load_s=0.5, evaluate_s=0.5, margin_s=0.5, keepalive_s=0.1)
        assert failure(script(bench=replace(bench, limits=limits), first=fault))[0] is ErrorCode.RUNNER_HUNG

    def test_deadline_ends_a_run(self, script: Any) -> None:
        def hurried(subject: Any) -> Any:
            return replace(subject, settings=subject.settings.model_copy(update={"deadline_s": 0.5}))

        code, detail = failure(script(subject=hurried, load="hang"))
        assert code is ErrorCode.DEADLINE_EXCEEDED
        assert detail["phase"] == "load"

    def test_garbage_breaks_the_protocol(self, script: Any) -> None:
        code, detail = failure(script(first="garbage"))
        assert code is ErrorCode.RUNNER_PROTOCOL
        assert detail["line"].startswith("I am no event")

    def test_vendor_output_does_not_disturb(self, script: Any) -> None:
        assert script(first="print", later="print").report.error is None

    def test_non_finite_output_makes_the_run_invalid_but_keeps_it(self, script: Any) -> None:
        report = script(output="nan").report
        assert report.error is None
        assert report.latency_ms is not None
        assert report.verdict.status is VerdictStatus.INVALID
        assert Reason.NON_FINITE_OUTPUT in report.verdict.reasons


class TestCancelling:
    def test_cancel_between_phases_ends_the_child_and_is_reported(self, script: Any, bench: Bench) -> None:
        def cancel(phase: str, _silent_for_s: float) -> None:
            if phase == "measure":
                raise MeasurementFailed(ErrorCode.CANCELLED, "cancelled")

        assert failure(script(bench=replace(bench, on_phase=cancel)))[0] is ErrorCode.CANCELLED
        assert children_of(os.getpid()) == []

    def test_cancel_reaches_a_run_that_hangs_while_loading(self, script: Any, bench: Bench) -> None:
        calls: list[str] = []

        def cancel(phase: str, _silent_for_s: float) -> None:
            calls.append(phase)
            if len(calls) > 3:
                raise MeasurementFailed(ErrorCode.CANCELLED, "cancelled")

        assert failure(script(bench=replace(bench, on_phase=cancel), load="hang"))[0] is ErrorCode.CANCELLED

    def test_other_exceptions_pass_through_after_the_child_has_ended(self, script: Any, bench: Bench) -> None:
        def lose(phase: str, _silent_for_s: float) -> None:
            if phase == "measure":
                raise LookupError("stale")

        with pytest.raises(LookupError):
            script(bench=replace(bench, on_phase=lose))
        assert children_of(os.getpid()) == []


class TestParentDies:
    @pytest.mark.parametrize("fault", ["hang", "hang_with_lock"])
    def test_runner_ends_with_its_parent(self, tmp_path: Path, fault: str) -> None:
        """Even inside a C function that keeps the interpreter lock."""
        (tmp_path / "script.json").write_text(json.dumps({"load": fault}))
        archive = write_runner_archive(tmp_path / "runner.zip")
        backends = Path(__file__).parent / "backends"
        parent = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(tmp_path), fault],
            env=child_environment(os.environ, [archive, backends]),
            stdout=subprocess.PIPE,
        )
        assert parent.stdout is not None
        runner_pid = int(parent.stdout.readline())
        ended = os.pidfd_open(runner_pid)
        parent.kill()
        parent.wait()
        parent.stdout.close()
        try:
            assert wait_readable(ended, timeout_s=30.0)
        finally:
            os.close(ended)


PARENT = """
import json, subprocess, sys, os
folder = sys.argv[1]
child = subprocess.Popen([sys.executable, "-m", "edgefleet_agent.runner"], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, cwd=folder)
hello = json.loads(child.stdout.readline())
request = {"parent_pid": os.getpid(), "backend": "scripted_backend", "artifact": folder + "/script.json",
           "output_dir": folder, "settings": {"threads": 1, "batch": 1, "seed": 0}}
child.stdin.write(json.dumps(request).encode() + b"\\n")
child.stdin.flush()
child.stdout.readline()
child.stdin.write(b"{}\\n")
child.stdin.flush()
print(child.pid, flush=True)
child.wait()
"""


def wait_readable(descriptor: int, timeout_s: float) -> bool:
    import select

    return bool(select.select([descriptor], [], [], timeout_s)[0])


def children_of(pid: int) -> "list[int]":
    """Living children, from /proc."""
    text = Path("/proc/{0}/task/{0}/children".format(pid)).read_text()
    return [int(child) for child in text.split() if is_runner(int(child))]


def is_runner(pid: int) -> bool:
    try:
        return b"edgefleet_agent.runner" in Path("/proc/{}/cmdline".format(pid)).read_bytes()
    except OSError:
        return False


def test_signals_have_names() -> None:
    from edgefleet_agent.measure.child_process import signal_name

    assert signal_name(signal.SIGSEGV) == "SIGSEGV"
    assert signal_name(40) == "signal 40"
