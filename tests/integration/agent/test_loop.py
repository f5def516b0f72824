"""The agent against a controller that loses connections, forgets, cancels and hands out damaged files."""

import errno
import hashlib
import json
import logging
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import onnx
import pytest
from onnx import TensorProto, helper

from edgefleet_agent import spool
from edgefleet_agent.errors import (
    AgentError,
    CredentialRefused,
    MeasurementFailed,
    RequestRefused,
    SettingsInvalid,
    UpgradeNeeded,
)
from edgefleet_agent.measure.artifact import Bench, Measurement, Subject
from edgefleet_agent.wire.host_lock import hold_for_compute
from edgefleet_agent.wire.messages import MeasureSettings, RuntimeFacts
from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_agent.wire.report import BlobRef


def reported_error(rig: Any, run_id: str = "run-1", attempt: int = 1) -> str:
    """Code of the reported error."""
    return str(rig.controller.reports[(run_id, attempt)]["error"]["code"])


class TestDailyRound:
    def test_order_is_measured_and_reported(self, rig: Any) -> None:
        rig.order()
        rig.agent().serve(max_runs=1)
        assert rig.controller.reports[("run-1", 1)]["error"] is None
        assert list(rig.controller.uploads.values()) == [b"raw samples"]
        assert list(rig.spool().pending()) == []

    def test_samples_arrive_before_the_report(self, rig: Any) -> None:
        rig.order()
        rig.agent().serve(max_runs=1)
        names = [name for name, _ in rig.controller.requests]
        assert names.index("upload") < names.index("report")

    def test_heartbeats_name_the_phases_and_announce_silence(self, rig: Any) -> None:
        rig.order()
        rig.agent().serve(max_runs=1)
        beats = [(beat["phase"], beat["silent_for_s"]) for beat in rig.controller.calls("heartbeat")]
        phases = [phase for i, (phase, _) in enumerate(beats) if i == 0 or phase != beats[i - 1][0]]
        assert phases == ["fetch", "load", "warmup", "measure", "evaluate"]
        assert ("measure", 5.0) in beats

    def test_enrolment_happens_once_and_is_kept_private(self, rig: Any) -> None:
        for number in (1, 2):
            rig.order("run-{}".format(number))
            rig.agent().serve(max_runs=1)
        assert len(rig.controller.calls("enrol")) == 1
        assert stat.S_IMODE((rig.state / "identity.json").stat().st_mode) == 0o600

    def test_facts_are_sent_when_asked_for(self, rig: Any) -> None:
        rig.order()
        rig.controller.fail("claim", httpx.Response(200, json={"order": None, "send_facts": True}))
        rig.agent().serve(max_runs=1)
        assert rig.controller.calls("claim")[1]["facts"]["board"] == "linux-host"

    def test_artifact_is_fetched_once_for_two_runs(self, rig: Any) -> None:
        rig.order("run-1")
        rig.order("run-2")
        rig.agent().serve(max_runs=2)
        assert len(rig.controller.calls("download")) == 1

    def test_agent_says_goodbye(self, rig: Any) -> None:
        rig.order()
        rig.agent().serve(max_runs=1)
        assert rig.controller.calls("claim")[-1]["draining"] is True

    def test_stop_while_idle_ends_the_agent(self, rig: Any) -> None:
        rig.controller.on_empty = rig.stop.request
        rig.agent().serve()
        assert rig.controller.reports == {}

    def test_stop_during_a_run_finishes_and_reports_it_first(self, rig: Any) -> None:
        inner = rig.measure

        def stopping(subject: Subject, bench: Bench) -> Measurement:
            rig.stop.request()
            return inner(subject, bench)  # type: ignore[no-any-return]

        rig.measure = stopping
        rig.order("run-1")
        rig.order("run-2")
        rig.agent().serve()
        assert list(rig.controller.reports) == [("run-1", 1)]
        assert list(rig.spool().pending()) == []


class TestFullDisk:
    def test_a_disk_that_is_full_for_a_while_costs_nothing(self, rig: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        fill_disk(monkeypatch, n_writes=3)
        rig.order()
        rig.agent().serve(max_runs=1)
        assert rig.controller.reports[("run-1", 1)]["error"] is None
        assert list(rig.controller.uploads.values()) == [b"raw samples"]
        assert "keep" in [beat["phase"] for beat in rig.controller.calls("heartbeat")]

    def test_a_disk_that_stays_full_costs_the_figures_and_neither_run_nor_agent(
        self, rig: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as full:
            fill_disk(full, n_writes=10**6)
            rig.order("run-1")
            rig.agent().serve(max_runs=1)
        rig.order("run-2")
        rig.agent().serve(max_runs=1)
        assert reported_error(rig) == "disk_full"
        assert rig.controller.reports[("run-2", 1)]["error"] is None
        assert list((rig.state / "spool" / "pending").iterdir()) == []

    def test_a_run_that_went_elsewhere_while_the_disk_was_full_is_dropped(
        self, rig: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill_disk(monkeypatch, n_writes=10**6)
        rig.order()
        inner = rig.measure

        def overtaken(subject: Subject, bench: Bench) -> Measurement:
            measurement = inner(subject, bench)
            rig.controller.fail("heartbeat", httpx.Response(409, json={"code": "stale_attempt", "detail": "gone"}))
            return measurement  # type: ignore[no-any-return]

        rig.measure = overtaken
        rig.agent().serve(max_runs=1)
        assert rig.controller.reports == {}


def fill_disk(monkeypatch: pytest.MonkeyPatch, *, n_writes: int) -> None:
    """Let so many writes of the spool fail for lack of space; part of the file is there each time."""
    left = [n_writes]

    def write(path: Path, content: bytes) -> None:
        if left[0] > 0:
            left[0] -= 1
            path.write_bytes(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        path.write_bytes(content)

    monkeypatch.setattr(spool, "_write_durably", write)


class TestNetwork:
    @pytest.mark.parametrize("endpoint", ["enrol", "claim", "heartbeat", "download", "upload", "report"])
    @pytest.mark.parametrize(
        "fault",
        [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), httpx.Response(503, headers={"Retry-After": "0"})],
        ids=["connection refused", "time-out", "503"],
    )
    def test_trouble_on_any_endpoint_is_outlived(self, rig: Any, endpoint: str, fault: Any) -> None:
        rig.order()
        rig.controller.fail(endpoint, fault, fault)
        rig.agent().serve(max_runs=1)
        assert rig.controller.reports[("run-1", 1)]["error"] is None

    def test_report_whose_answer_was_lost_is_sent_again_and_counted_once(self, rig: Any) -> None:
        rig.order()

        def accept_and_drop(request: httpx.Request) -> httpx.Response:
            rig.controller._report(request, json.loads(request.content))
            raise httpx.ReadError("connection reset by peer")

        rig.controller.fail("report", accept_and_drop)
        rig.agent().serve(max_runs=1)
        assert len(rig.controller.calls("report")) == 2
        assert len(rig.controller.reports) == 1
        assert list(rig.spool().pending()) == []

    def test_refused_credential_ends_the_agent(self, rig: Any) -> None:
        rig.controller.fail("claim", httpx.Response(401, json={"code": "not_authenticated"}))
        with pytest.raises(CredentialRefused, match="join token"):
            rig.agent().serve()

    def test_a_revoked_board_enrols_again_with_a_new_join_token(self, rig: Any) -> None:
        rig.order()
        rig.agent().serve(max_runs=1)
        rig.order("run-2")
        rig.controller.fail("claim", httpx.Response(401, json={"code": "not_authenticated"}))
        rig.agent().serve(max_runs=1)
        assert len(rig.controller.calls("enrol")) == 2
        assert ("run-2", 1) in rig.controller.reports

    def test_a_used_join_token_in_the_start_line_does_not_end_an_enrolled_agent(self, rig: Any) -> None:
        rig.order()
        rig.agent().serve(max_runs=1)
        rig.order("run-2")
        rig.agent(join_token="ejt_used").serve(max_runs=1)
        assert len(rig.controller.calls("enrol")) == 1
        rig.controller.fail("claim", httpx.Response(401, json={"code": "not_authenticated"}))
        with pytest.raises(CredentialRefused, match="join_token_refused"):
            rig.agent(join_token="ejt_used").serve()

    def test_refused_join_token_ends_the_agent(self, rig: Any) -> None:
        with pytest.raises(CredentialRefused, match="join_token_refused"):
            rig.agent(join_token="ejt_used").serve()
        assert not (rig.state / "identity.json").exists()

    def test_missing_join_token_is_named(self, rig: Any) -> None:
        with pytest.raises(SettingsInvalid, match="--join-token"):
            rig.agent(join_token=None).serve()

    def test_old_protocol_ends_the_agent(self, rig: Any) -> None:
        rig.controller.fail("claim", httpx.Response(426, json={"code": "upgrade_required"}))
        with pytest.raises(UpgradeNeeded, match="upgrade edgefleet-agent"):
            rig.agent().serve()

    def test_taken_name_is_no_stale_run(self, rig: Any) -> None:
        rig.controller.fail("enrol", httpx.Response(409, json={"code": "name_taken", "detail": "name is taken"}))
        with pytest.raises(RequestRefused, match="name is taken"):
            rig.agent(name="board").serve()

    def test_foreign_server_is_recognised(self, rig: Any) -> None:
        rig.controller.fail("enrol", httpx.Response(200, text="<html>welcome</html>"))
        with pytest.raises(AgentError, match="does its address point at an edgefleet controller"):
            rig.agent().serve()


class TestDownload:
    @pytest.mark.parametrize("breaks", [True, False], ids=["connection breaks", "body ends early"])
    def test_broken_download_is_resumed(self, rig: Any, breaks: bool) -> None:
        order = rig.order()
        content = rig.controller.blobs[order.artifact.sha256]
        half = Broken(content, 5000, breaks=breaks)
        rig.controller.fail("download", lambda _request: httpx.Response(200, stream=half))
        rig.agent().serve(max_runs=1)
        assert rig.controller.ranges == ["bytes=5000-"]
        assert rig.controller.reports[("run-1", 1)]["error"] is None

    def test_exchanged_content_is_never_loaded(self, rig: Any) -> None:
        order = rig.order()
        rig.controller.blobs[order.artifact.sha256] = b"other bytes " * 1000
        rig.measure = must_not_be_called
        rig.agent().serve(max_runs=1)
        assert reported_error(rig) == "artifact_hash_mismatch"

    def test_missing_artifact_is_reported(self, rig: Any) -> None:
        order = rig.order()
        del rig.controller.blobs[order.artifact.sha256]
        rig.agent().serve(max_runs=1)
        assert reported_error(rig) == "artifact_missing"

    def test_unreachable_artifact_leaves_the_run_to_its_lease(self, rig: Any) -> None:
        rig.order()
        rig.controller.fail("download", *[httpx.ReadTimeout("slow")] * 8)
        rig.agent().serve(max_runs=1)
        assert rig.controller.reports == {}


class TestRunTrouble:
    def test_unknown_runtime_is_reported(self, rig: Any) -> None:
        rig.controller.orders.append(rig.order().model_copy(update={"runtime": "abacus"}))
        del rig.controller.orders[0]
        rig.agent().serve(max_runs=1)
        assert reported_error(rig) == "unknown_runtime"

    def test_runtime_that_is_not_on_the_board_is_reported(self, rig: Any) -> None:
        rig.facts = rig.facts.model_copy(update={"runtimes": []})
        rig.order()
        rig.agent().serve(max_runs=1)
        assert reported_error(rig) == "runtime_unavailable"

    def test_coded_failure_of_the_measurement_is_reported(self, rig: Any) -> None:
        def crashing(subject: Subject, bench: Bench) -> Measurement:
            raise MeasurementFailed(ErrorCode.RUNNER_CRASHED, "crashed")

        rig.measure = crashing
        rig.order()
        rig.agent().serve(max_runs=1)
        assert reported_error(rig) == "runner_crashed"

    def test_bug_of_the_agent_costs_one_run(self, rig: Any) -> None:
        inner, calls = rig.measure, []

        def buggy_once(subject: Subject, bench: Bench) -> Measurement:
            calls.append(subject)
            if len(calls) == 1:
                raise ZeroDivisionError("a bug")
            return inner(subject, bench)  # type: ignore[no-any-return]

        rig.measure = buggy_once
        rig.order("run-1")
        rig.order("run-2")
        rig.agent().serve(max_runs=2)
        assert reported_error(rig) == "internal"
        assert rig.controller.reports[("run-2", 1)]["error"] is None

    def test_cancelled_run_is_reported_as_cancelled(self, rig: Any) -> None:
        rig.order()
        rig.controller.cancels.add("run-1")
        rig.measure = must_not_be_called
        rig.agent().serve(max_runs=1)
        assert reported_error(rig) == "cancelled"

    def test_stale_heartbeat_drops_the_run(self, rig: Any, caplog: pytest.LogCaptureFixture) -> None:
        rig.order()
        rig.controller.fail("heartbeat", httpx.Response(409, json={"code": "stale_attempt"}))
        with caplog.at_level(logging.WARNING):
            rig.agent().serve(max_runs=1)
        assert rig.controller.reports == {}
        assert "dropped" in caplog.text

    def test_stale_report_is_dropped_for_good(self, rig: Any) -> None:
        rig.order()
        rig.controller.fail("report", httpx.Response(409, json={"code": "stale_attempt"}))
        rig.agent().serve(max_runs=1)
        assert rig.controller.reports == {}
        assert list(rig.spool().pending()) == []

    def test_refused_report_is_kept_aside_and_not_sent_again(self, rig: Any) -> None:
        rig.order()
        rig.controller.fail("report", httpx.Response(422, json={"code": "report_refused"}))
        rig.agent().serve(max_runs=1)
        assert (rig.state / "spool/refused/run-1.1/report.json").is_file()
        rig.order("run-2")
        rig.agent().serve(max_runs=1)
        assert list(rig.controller.reports) == [("run-2", 1)]

    def test_endless_please_retry_is_given_up(self, rig: Any) -> None:
        rig.order()
        again = httpx.Response(422, json={"code": "samples_missing", "retry": True})
        rig.controller.fail("report", *[again] * 50)
        rig.agent().serve(max_runs=1)
        assert len(rig.controller.calls("report")) == 6


class TestKilledAgent:
    def test_finished_run_is_sent_after_a_restart(self, rig: Any) -> None:
        """Killed between spooling and reporting."""
        rig.order()
        rig.controller.fail("upload", Killed())
        with pytest.raises(Killed):
            rig.agent().serve(max_runs=1)
        assert rig.controller.reports == {}
        rig.controller.on_empty = rig.stop.request
        rig.agent().serve()
        assert list(rig.controller.reports) == [("run-1", 1)]

    def test_run_reported_just_before_the_kill_is_a_duplicate_and_no_second_result(self, rig: Any) -> None:
        rig.order()
        rig.controller.fail("report", lambda request: die_after_accepting(rig, request))
        with pytest.raises(Killed):
            rig.agent().serve(max_runs=1)
        rig.controller.fail("upload", httpx.Response(403, json={"code": "not_allowed"}))
        rig.controller.on_empty = rig.stop.request
        rig.agent().serve()
        assert len(rig.controller.reports) == 1
        assert list(rig.spool().pending()) == []
        assert not list((rig.state / "spool/refused").iterdir())

    def test_unfinished_run_is_measured_afresh_when_leased_again(self, rig: Any) -> None:
        inner = rig.measure

        def killed(subject: Subject, bench: Bench) -> Measurement:
            raise Killed

        rig.measure = killed
        rig.order(attempt=1)
        with pytest.raises(Killed):
            rig.agent().serve(max_runs=1)
        rig.measure = inner
        rig.order(attempt=2)
        rig.agent().serve(max_runs=1)
        assert list(rig.controller.reports) == [("run-1", 2)]


class TestHostLock:
    def test_agent_waits_for_computing_steps_and_says_so(self, rig: Any) -> None:
        rig.order()
        computing = hold_for_compute(rig.state / "lock")
        computing.__enter__()

        def finish_computing(request: httpx.Request) -> httpx.Response:
            if json.loads(request.content)["phase"] == "wait":
                computing.__exit__(None, None, None)
            else:
                rig.controller.fail("heartbeat", finish_computing)
            return httpx.Response(200, json={"cancel": False, "lease_s": 60.0})

        rig.controller.fail("heartbeat", finish_computing)
        rig.agent().serve(max_runs=1)
        assert "wait" in [beat["phase"] for beat in rig.controller.calls("heartbeat")]
        assert rig.controller.reports[("run-1", 1)]["error"] is None

    def test_cancel_reaches_a_run_that_waits(self, rig: Any) -> None:
        rig.order()
        rig.controller.fail("heartbeat", None, *[cancel_when_waiting] * 20)
        with hold_for_compute(rig.state / "lock"):
            rig.agent().serve(max_runs=1)
        assert reported_error(rig) == "cancelled"


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the agent may catch it."""


def die_after_accepting(rig: Any, request: httpx.Request) -> httpx.Response:
    rig.controller._report(request, json.loads(request.content))
    raise Killed


def cancel_when_waiting(request: httpx.Request) -> httpx.Response:
    waiting = json.loads(request.content)["phase"] == "wait"
    return httpx.Response(200, json={"cancel": waiting, "lease_s": 60.0})


def must_not_be_called(subject: Subject, bench: Bench) -> Measurement:
    raise AssertionError("nothing may be measured")


class Broken(httpx.SyncByteStream):
    """A body that stops after ``n_bytes``: the connection breaks there, or the body simply ends."""

    def __init__(self, content: bytes, n_bytes: int, *, breaks: bool) -> None:
        self._content, self._n_bytes, self._breaks = content, n_bytes, breaks

    def __iter__(self) -> Iterator[bytes]:
        yield self._content[: self._n_bytes]
        if self._breaks:
            raise httpx.ReadError("connection reset by peer")


def test_real_measurement_goes_through(rig: Any, real_measure: Any, tmp_path: Path) -> None:
    """Fetch, runner child and upload for a real ONNX file."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    content = model.SerializeToString()
    onnx.checker.check_model(model)
    ref = BlobRef(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    rig.controller.blobs[ref.sha256] = content
    here = RuntimeFacts(name="onnxruntime", version="1", interpreter=sys.executable, python_version="3")
    rig.facts = rig.facts.model_copy(update={"runtimes": [here]})
    rig.measure = real_measure
    quick = MeasureSettings(seconds=0.05, min_samples=70, warmup_seconds=0.0, warmup_iterations=2)
    rig.order(artifact=ref, settings=quick)
    rig.agent().serve(max_runs=1)
    report = rig.controller.reports[("run-1", 1)]
    assert report["error"] is None
    assert report["latency_ms"]["n"] >= 70
    for ref_of_samples in report["samples"].values():
        assert ref_of_samples["sha256"] in rig.controller.uploads
