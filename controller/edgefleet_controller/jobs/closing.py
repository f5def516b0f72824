"""How a job ends: when the last of its variants has, or when something stops it before."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from edgefleet_controller.db.database import announce, now_of
from edgefleet_controller.db.tables import Job, Run, Variant
from edgefleet_controller.jobs import repository
from edgefleet_controller.jobs.events import record_event
from edgefleet_controller.jobs.sweep import settings_of
from edgefleet_controller.jobs.thresholds import Failures, exceeded
from edgefleet_controller.runs import repository as runs
from edgefleet_controller.studies.turns import ask_turn

JsonObject = dict[str, Any]


def close_if_done(session: Session, job_id: str) -> None:
    """Close the job once all its variants have ended: failed if every one of them did, else completed.

    Called in the transaction that ends a variant. The job's row is locked before the variants are read, so that of two
    that end at the same moment the second sees the first. A job with too many failures is stopped instead.
    """
    job = repository.find_locked(session, job_id)
    if job is None or job.state != "running":
        return
    if repository.has_unended_variant(session, job_id):
        _stop_after_failures(session, job)
        return
    states = repository.variant_states(session, job_id)
    n_failed = states.count("failed")
    job.error = repository.first_variant_error(session, job_id) if n_failed == len(states) else None
    finish(session, job, "failed" if n_failed == len(states) else "completed")
    record_event(session, job_id, job.state, f"{len(states) - n_failed} of {len(states)} variants measured")


def finish(session: Session, job: Job, state: str) -> None:
    """Put the job into an end state; the study that it belongs to has its turn."""
    job.state, job.finished_at, job.progress, job.message = state, now_of(session), 1.0, state
    session.flush()
    if job.study_id is not None:
        ask_turn(session, job.study_id)


def stop_job(session: Session, job: Job, error: JsonObject) -> None:
    """End a job for a reason of ours: its tasks and runs are stopped, what was measured stays; it ends as failed."""
    if job.state in repository.ENDED or job.state == "cancelling":
        return
    job.state, job.message, job.error = "cancelling", error["message"], error
    session.flush()
    runs.cancel_queued(session, Run.job_id == job.id, now_of(session))
    runs.ask_to_cancel(session, Run.job_id == job.id)
    record_event(session, job.id, "stopped", error["message"], error=error)
    announce(session, "job_cancelled", job.id)


def _stop_after_failures(session: Session, job: Job) -> None:
    wanted = job.request
    limit, share = wanted.get("max_failures"), wanted.get("max_failure_share")
    if limit is None and share is None:
        return
    failures = count_failures(session, job)
    reason = exceeded(failures, max_failures=limit, max_failure_share=share)
    if reason is not None:
        detail = {"n_failed": failures.n_failed, "n_planned": failures.n_planned}
        stop_job(session, job, {"code": "too_many_failures", "message": reason, "detail": detail})


def count_failures(session: Session, job: Job) -> Failures:
    """Failed runs of the job; a variant that never became an artifact counts for all the runs it would have had."""
    n_variants = session.scalar(select(func.count()).select_from(Variant).where(Variant.job_id == job.id)) or 0
    n_devices = job.request.get("any_of") or len(job.request.get("device_ids") or ())
    n_each = max(1, n_devices) * len(settings_of(job.request))
    failed = select(func.count()).select_from(Run).where(Run.job_id == job.id, Run.state == "failed")
    has_run = select(Run.id).where(Run.variant_id == Variant.id).exists()
    lost = select(func.count()).select_from(Variant)
    lost = lost.where(Variant.job_id == job.id, Variant.state == "failed", ~has_run)
    n_failed = (session.scalar(failed) or 0) + n_each * (session.scalar(lost) or 0)
    return Failures(n_failed=n_failed, n_planned=n_each * n_variants)
