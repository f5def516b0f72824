"""Queues runs, and ends those that no report ended."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from edgefleet_agent.wire.messages import RunOrder
from edgefleet_agent.wire.report import CodedError
from edgefleet_controller.db.database import announce, now_of
from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.tables import Run
from edgefleet_controller.dispatch.requirements import Requirement
from edgefleet_controller.observability.metrics import LEASE_EXPIRIES
from edgefleet_controller.runs import repository
from edgefleet_controller.runs.followers import UNFINISHED, record, settle_variant
from edgefleet_controller.runs.rules import LeaseRules

ORDER_FIELDS = frozenset(RunOrder.model_fields) - {"run_id", "attempt", "lease_s"}
DEFAULT_PRIORITY = 100


def enqueue_run(
    session: Session,
    job_id: str,
    variant_id: str,
    device_id: str,
    order: Mapping[str, Any],
    *,
    settings_ordinal: int = 0,
    priority: int = DEFAULT_PRIORITY,
) -> Run:
    """Queue a variant for a device; the second call for the same pair and settings returns the run of the first.

    ``order`` is a RunOrder without ``run_id``, ``attempt`` and ``lease_s``; ``settings_ordinal`` says which of the job's
    settings it has; runs of lower ``priority`` come first.
    """
    existing = repository.find_of_variant(session, variant_id, device_id, settings_ordinal)
    if existing is not None:
        return existing
    owner = {"job_id": job_id, "variant_id": variant_id, "settings_ordinal": settings_ordinal, "priority": priority}
    return _enqueue(session, order, owner | {"device_id": device_id})


def enqueue_open_run(
    session: Session,
    job_id: str,
    variant_id: str,
    requirement: Requirement,
    order: Mapping[str, Any],
    *,
    slot: int = 0,
    settings_ordinal: int = 0,
    priority: int = DEFAULT_PRIORITY,
) -> Run:
    """Queue a variant for any device that meets the requirement; one run for each ``slot``, each on another device.

    The second call for the same variant, settings and slot returns the run of the first.
    """
    existing = repository.find_of_slot(session, variant_id, settings_ordinal, slot)
    if existing is not None:
        return existing
    owner = {"job_id": job_id, "variant_id": variant_id, "settings_ordinal": settings_ordinal, "priority": priority}
    named = repository.ensure_requirement(session, requirement, now_of(session))
    return _enqueue(session, order, owner | {"requirement_sha256": named, "slot": slot})


def refuse_run(session: Session, run: Run, error: CodedError) -> None:
    """Fail a queued run that its device could never carry out; one in another state stays as it is."""
    if run.state == "queued":
        _fail(session, run, error.model_dump(mode="json"))


def enqueue_comparison(session: Session, comparison_id: str, device_id: str, order: Mapping[str, Any]) -> Run:
    """Queue a comparison for a device; ``order`` as in ``enqueue_run``, of kind ab or aa."""
    return _enqueue(session, order, {"comparison_id": comparison_id, "device_id": device_id})


def _enqueue(session: Session, order: Mapping[str, Any], owner: Mapping[str, Any]) -> Run:
    wanted = {name: value for name, value in order.items() if name in ORDER_FIELDS}
    checked = RunOrder(run_id="", attempt=1, lease_s=1, **wanted).model_dump(mode="json", include=set(ORDER_FIELDS))
    run = Run(
        **{"priority": DEFAULT_PRIORITY, **owner},
        id=new_id("run"),
        kind=checked["kind"],
        artifact_sha256=checked["artifact"]["sha256"],
        state="queued",
        attempt=0,
        order=checked,
        cancel_requested=False,
        created_at=now_of(session),
    )
    repository.add(session, run)
    announce_work(session, run)
    return run


def expire_leases(session: Session, rules: LeaseRules, *, device_id: str | None = None) -> list[Run]:
    """Take back leases that ran out and return their runs: queued again, or failed after the last attempt."""
    expired = repository.end_expired(session, now_of(session), rules.max_attempts, device_id)
    for run in expired:
        _end_lost(session, run, f"the lease of attempt {run.attempt} ran out")
    return expired


def void_lease(session: Session, run: Run, rules: LeaseRules) -> None:
    """End a lease whose agent came back without the run, as if it had run out; one that has ended stays as it is."""
    ended = repository.end_lease(session, run.id, run.attempt, rules.max_attempts)
    if ended is not None:
        _end_lost(session, ended, f"the agent came back without the run of attempt {ended.attempt}")


def _end_lost(session: Session, run: Run, reason: str) -> None:
    announce(session, "lease", run.id)
    LEASE_EXPIRIES.labels(run.state).inc()
    if run.state == "queued":
        record(session, run, "lease_expired", f"{reason}; queued again")
        announce_work(session, run)
    elif run.state == "cancelled":
        run.finished_at = now_of(session)
        settle_variant(session, run)
        record(session, run, "run_cancelled", "the device did not answer; the run was cancelled")
    else:
        message = f"The device went silent in each of {run.attempt} attempts; look at the agent's log there."
        _fail(session, run, {"code": "lease_expired", "message": message, "detail": {"attempts": run.attempt}})


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
    announce_work(session, run)  # its device may take its next run


def announce_work(session: Session, run: Run) -> None:
    """Tell whoever waits for runs that this one, or the next one of its device, may be taken."""
    if run.device_id is not None:
        announce(session, "device", run.device_id)
    elif run.requirement_sha256 is not None:
        announce(session, "requirement", run.requirement_sha256)
