import hashlib
from pathlib import Path

import pytest

from edgefleet_agent.measure.artifact import failed_report
from edgefleet_agent.spool import Spool, entry_name
from edgefleet_agent.wire.messages import ReportRequest
from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_agent.wire.report import BlobRef, CodedError

ARTIFACT = BlobRef(sha256="0" * 64, size_bytes=1)


def request(run_id: str = "run-1", attempt: int = 1) -> ReportRequest:
    report = failed_report(ARTIFACT, CodedError(code=ErrorCode.CANCELLED, message="cancelled"))
    return ReportRequest(run_id=run_id, attempt=attempt, report=report)


def test_spooled_run_survives_a_restart(tmp_path: Path) -> None:
    Spool(tmp_path).add(request(), {"latency": b"samples"})
    (run,) = Spool(tmp_path).pending()
    assert run.request == request()
    assert {sha: path.read_bytes() for sha, path in run.blobs.items()} == {
        hashlib.sha256(b"samples").hexdigest(): b"samples"
    }


def test_removed_run_is_gone(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.remove(spool.add(request(), {}))
    assert list(Spool(tmp_path).pending()) == []


def test_half_written_entry_does_not_appear(tmp_path: Path) -> None:
    draft = tmp_path / "pending" / "run-1.1.unfinished"
    draft.mkdir(parents=True)
    (draft / "report.json").write_text("{")
    assert list(Spool(tmp_path).pending()) == []
    assert not draft.exists()


def test_unreadable_entry_is_put_aside_and_the_others_go_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    damaged = spool.add(request("run-1"), {})
    spool.add(request("run-2"), {})
    (damaged.folder / "report.json").write_text("{}")
    assert [run.request.run_id for run in spool.pending()] == ["run-2"]
    assert (tmp_path / "refused" / "run-1.1").is_dir()


def test_attempts_of_one_run_are_kept_apart(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add(request(attempt=1), {})
    spool.add(request(attempt=2), {})
    assert sorted(run.request.attempt for run in spool.pending()) == [1, 2]


def test_attempt_measured_again_replaces_the_older_report(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add(request(), {"latency": b"old"})
    spool.add(request(), {"latency": b"new"})
    (run,) = spool.pending()
    assert [path.read_bytes() for path in run.blobs.values()] == [b"new"]


@pytest.mark.parametrize("run_id", ["../../etc", "a/b", "", "x" * 300])
def test_odd_identifiers_cannot_leave_the_spool(run_id: str) -> None:
    assert "/" not in entry_name(run_id, 1)
    assert not entry_name(run_id, 1).startswith(".")
