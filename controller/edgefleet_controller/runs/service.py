"""Queues, leases and ends runs. Every write of a device is fenced by ``(run_id, attempt)``."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from edgefleet_agent.statistics import LatencyFigures
from edgefleet_agent.wire.messages import ClaimRequest, HeartbeatRequest, HeartbeatResponse, ReportRequest, RunOrder
from edgefleet_agent.wire.reasons import ErrorCode
from edgefleet_agent.wire.report import CodedError, RunReport
from edgefleet_controller.blobs.store import BlobStore
from edgefleet_controller.db.database import announce, now_of
from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.tables import Device, Run
from edgefleet_controller.devices import repository as devices
from edgefleet_controller.devices.service import store_facts
from edgefleet_controller.errors import NotFound, ReportRefused, SamplesMissing, StaleAttempt
from edgefleet_controller.runs import repository, verification
from edgefleet_controller.runs.agreement import host_agreement
from edgefleet_controller.runs.followers import UNFINISHED, record, settle_variant
from edgefleet_controller.runs.records import comparison_result_of, result_of

ORDER_FIELDS = frozenset(RunOrder.model_fields) - {"run_id", "attempt", "lease_s"}
MAX_ATTEMPT = 2**31 - 1
"""What the column holds; no attempt is ever that high."""


@dataclass(frozen=True)
class LeaseRules:
    """How long a lease runs and how often a run is leased."""

    lease_s: float = 60.0
    margin_s: float = 30.0
    max_attempts: int = 3


@dataclass(frozen=True)
class Claim:
    """The answer to a claim that need not wait any longer."""

    order: RunOrder | None = None
    wants_facts: bool = False
    must_stop: bool = False


@dataclass(frozen=True)
class Completion:
    """What became of a report; a refusal has been recorded as the run's failure."""

    is_duplicate: bool = False
    refusal: ReportRefused | None = None


def enqueue_run(
    session: Session,
    job_id: str,
    variant_id: str,
    device_id: str,
    order: Mapping[str, Any],
    *,
    settings_ordinal: int = 0,
) -> Run:
    """Queue a variant for a device; the second call for the same pair and settings returns the run of the first.

    ``order`` is a RunOrder without ``run_id``, ``attempt`` and ``lease_s``; ``settings_ordinal`` says which of the job's
    settings it has.
    """
    existing = repository.find_of_variant(session, variant_id, device_id, settings_ordinal)
    if existing is not None:
        return existing
    owner = {"job_id": job_id, "variant_id": variant_id, "settings_ordinal": settings_ordinal}
    return _enqueue(session, device_id, order, owner)


def refuse_run(session: Session, run: Run, error: CodedError) -> None:
    """Fail a queued run that its device could never carry out; one in another state stays as it is."""
    if run.state == "queued":
        _fail(session, run, error.model_dump(mode="json"))


def enqueue_comparison(session: Session, comparison_id: str, device_id: str, order: Mapping[str, Any]) -> Run:
    """Queue a comparison for a device; ``order`` as in ``enqueue_run``, of kind ab or aa."""
    return _enqueue(session, device_id, order, {"comparison_id": comparison_id})


def _enqueue(session: Session, device_id: str, order: Mapping[str, Any], owner: Mapping[str, Any]) -> Run:
    wanted = {name: value for name, value in order.items() if name in ORDER_FIELDS}
    checked = RunOrder(run_id="", attempt=1, lease_s=1, **wanted).model_dump(mode="json", include=set(ORDER_FIELDS))
    run = Run(
        **owner,
        id=new_id("run"),
        kind=checked["kind"],
        device_id=device_id,
        state="queued",
        attempt=0,
        priority=100,
        order=checked,
        cancel_requested=False,
        created_at=now_of(session),
    )
    repository.add(session, run)
    announce(session, "device", device_id)
    return run


def claim(session: Session, device_id: str, request: ClaimRequest, rules: LeaseRules) -> Claim | None:
    """Lease the device's next run; None if there is nothing to do now."""
    device = devices.find(session, device_id)
    if device is None:
        raise NotFound
    if request.facts is not None:
        store_facts(device, request.facts, facts_sha256=request.facts_sha256)
    elif device.facts_sha256 != request.facts_sha256:
        return Claim(wants_facts=True)
    if request.draining:
        return Claim(must_stop=True)
    expire_leases(session, rules, device_id=device_id)
    now = now_of(session)
    run = repository.lease_next(session, device_id, now, now + timedelta(seconds=rules.lease_s))
    if run is None:
        return None
    record(session, run, "run_leased", f"{device.name} took the run, attempt {run.attempt}")
    return Claim(order=RunOrder(run_id=run.id, attempt=run.attempt, lease_s=rules.lease_s, **run.order))


def needs_writing(session: Session, device_id: str, request: ClaimRequest) -> bool:
    """Whether a claim has more to do than wait; an idle one must not take the writer's lock."""
    device = devices.find(session, device_id)
    if device is None or request.facts is not None or request.draining or device.facts_sha256 != request.facts_sha256:
        return True
    return device.state == "active" and repository.may_lease(session, device_id, now_of(session))


def heartbeat(session: Session, device_id: str, request: HeartbeatRequest, rules: LeaseRules) -> HeartbeatResponse:
    """Extend the lease over the silent window that the agent announces; StaleAttempt if it has ended."""
    if request.attempt > MAX_ATTEMPT:
        raise StaleAttempt
    lease_s = max(rules.lease_s, request.silent_for_s + rules.margin_s)
    expires_at = now_of(session) + timedelta(seconds=lease_s)
    run = repository.extend_lease(session, request.run_id, device_id, request.attempt, request.phase, expires_at)
    if run is None:
        raise StaleAttempt
    return HeartbeatResponse(cancel=run.cancel_requested, lease_s=lease_s)


def complete(session: Session, device: Device, request: ReportRequest, blobs: BlobStore) -> Completion:
    """Accept a report once. The same report again is a duplicate; one of an older attempt is refused.

    A report that contradicts its order, device or samples fails the run and is not stored.
    """
    run = repository.find_locked(session, request.run_id, device.id)
    if run is None:
        raise NotFound("There is no such run of this device.")
    report_sha256 = hash_report(request.report)
    stored = repository.find_result(session, run.id)
    if stored is not None and (stored.attempt, stored.report_sha256) == (request.attempt, report_sha256):
        return Completion(is_duplicate=True)
    if run.state != "leased" or run.attempt != request.attempt:
        raise StaleAttempt
    try:
        figures = _verify(device, run, request.report, blobs)
        agreement = host_agreement(session, run, request.report, blobs)
    except SamplesMissing:
        raise
    except ReportRefused as refusal:
        _fail(session, run, {"code": refusal.code, "message": refusal.message, "detail": dict(refusal.extra)})
        return Completion(refusal=refusal)
    result = result_of(session, run, request.report, report_sha256, figures)
    result.host_agreement = agreement
    repository.add(session, result)
    compared = comparison_result_of(run, request.report)
    if compared is not None:
        repository.add(session, compared)
    _end(session, run, request.report)
    return Completion()


def hash_report(report: RunReport) -> str:
    """SHA-256 of the report in canonical JSON."""
    document = json.dumps(report.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(document.encode()).hexdigest()


def expire_leases(session: Session, rules: LeaseRules, *, device_id: str | None = None) -> list[Run]:
    """Take back leases that ran out and return their runs: queued again, or failed after the last attempt."""
    expired = repository.end_expired(session, now_of(session), rules.max_attempts, device_id)
    for run in expired:
        if run.state == "queued":
            record(session, run, "lease_expired", f"the lease of attempt {run.attempt} ran out; queued again")
            _announce_work(session, run)
        elif run.state == "cancelled":
            run.finished_at = now_of(session)
            record(session, run, "run_cancelled", "the device did not answer; the run was cancelled")
        else:
            message = f"The device went silent in each of {run.attempt} attempts; look at the agent's log there."
            _fail(session, run, {"code": "lease_expired", "message": message, "detail": {"attempts": run.attempt}})
    return expired


def cancel_runs(session: Session, which: ColumnElement[bool]) -> None:
    """Cancel the queued ones of these runs and ask the agents that hold others to stop."""
    for run in repository.cancel_queued(session, which, now_of(session)):
        record(session, run, "run_cancelled", "the run was cancelled before it began")
    repository.ask_to_cancel(session, which)


def withdraw_revoked(session: Session) -> list[Run]:
    """Fail what revoked devices will never do and return those runs; one that is held ends with its lease first."""
    error = {"code": "device_revoked", "message": "The device was revoked before it reported the run.", "detail": {}}
    withdrawn = repository.fail_queued_of_revoked(session, error, now_of(session))
    for run in withdrawn:
        settle_variant(session, run)
        record(session, run, "run_failed", "the device was revoked")
    return withdrawn


def count_unfinished(session: Session, job_id: str) -> int:
    """How many runs of the job are queued or leased."""
    return repository.count_in_states(session, job_id, UNFINISHED)


def _verify(device: Device, run: Run, report: RunReport, blobs: BlobStore) -> LatencyFigures | None:
    verification.require_provenance(device.kind, report)
    verification.require_ordered_artifact(run.order, report)
    verification.require_ordered_kind(run.order, report)
    verification.require_uploaded_samples(report, blobs)
    if report.is_comparison:
        verification.require_blocks(report, blobs)
        return None
    return verification.recompute_latency(report, blobs)


def _end(session: Session, run: Run, report: RunReport) -> None:
    if report.error is None:
        _finish(session, run, "completed")
        record(session, run, "run_completed", f"{report.provenance.value}, {report.verdict.status.value}")
    elif report.error.code is ErrorCode.CANCELLED and run.cancel_requested:
        _finish(session, run, "cancelled")
        record(session, run, "run_cancelled", "the agent stopped the run")
    else:
        _fail(session, run, report.error.model_dump(mode="json"))


def _fail(session: Session, run: Run, error: dict[str, Any]) -> None:
    run.error = error
    _finish(session, run, "failed")
    record(session, run, "run_failed", f"{error['code']}: {error['message']}")


def _finish(session: Session, run: Run, state: str) -> None:
    run.state = state
    run.finished_at = now_of(session)
    run.lease_expires_at = None
    session.flush()
    settle_variant(session, run)
    _announce_work(session, run)  # its device may take its next run


def _announce_work(session: Session, run: Run) -> None:
    announce(session, "device", run.device_id or f"any:{run.requirement_sha256}")
