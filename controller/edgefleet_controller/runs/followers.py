"""Tells those who follow a job or a comparison what became of its runs."""

from sqlalchemy.orm import Session

from edgefleet_controller.db.database import announce
from edgefleet_controller.db.tables import Run
from edgefleet_controller.jobs import events
from edgefleet_controller.jobs import repository as jobs
from edgefleet_controller.jobs.closing import close_if_done
from edgefleet_controller.jobs.progress import share_done

UNFINISHED = ("queued", "leased")


def record(session: Session, run: Run, kind: str, message: str) -> None:
    """Write the entry into the job's log, or wake those who wait for the comparison."""
    if run.comparison_id is not None:
        announce(session, "comparison", run.comparison_id)
    if run.job_id is None or run.variant_id is None:
        return
    variant = jobs.find_variant(session, run.variant_id)
    named = f"{variant.name}: {message}" if variant is not None else message
    events.record_event(session, run.job_id, kind, named, variant_id=run.variant_id, run_id=run.id, attempt=run.attempt)


def settle_variant(session: Session, run: Run) -> None:
    """End the variant once all its runs have ended: completed if any device measured it; and the job with its last one.

    The job's row is locked first: of two runs that end at the same moment, the second has to see the first.
    """
    if run.job_id is None or run.variant_id is None:
        return
    job = jobs.find_locked(session, run.job_id)
    variant = jobs.find_variant(session, run.variant_id)
    if variant is None or variant.state != "dispatched" or jobs.has_unended_run(session, run.variant_id):
        close_if_done(session, run.job_id)
        return
    states = set(jobs.run_states_of_variant(session, run.variant_id))
    variant.state = "completed" if "completed" in states else "failed" if "failed" in states else "cancelled"
    if variant.state == "failed":
        variant.error = jobs.last_run_error(session, run.variant_id)
    session.flush()
    if job is not None:
        job.progress = max(job.progress, share_done(jobs.variant_states(session, run.job_id)))
        job.message = f"{variant.name}: {variant.state}"
    session.flush()
    close_if_done(session, run.job_id)
