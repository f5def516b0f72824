"""How a study ends: with its report, which holds whatever was measured by then."""

from typing import Any

from sqlalchemy.orm import Session

from edgefleet_controller.db.database import now_of
from edgefleet_controller.db.tables import Study
from edgefleet_controller.errors import ControllerError
from edgefleet_controller.jobs import service as jobs
from edgefleet_controller.studies import repository
from edgefleet_controller.studies.events import record_event
from edgefleet_controller.studies.in_turns import cancel_comparisons
from edgefleet_controller.studies.reporting import report_of
from edgefleet_controller.studies.trials import settle_trials

JsonObject = dict[str, Any]


def end_study(session: Session, study: Study, state: str, error: JsonObject | None = None) -> None:
    """Put the study into an end state and keep its report. Its row is locked."""
    for board in ((study.checks or {}).get("boards") or {}).values():
        cancel_comparisons(session, board["comparisons"] or ())
    for trial in repository.trials_of(session, study.id):
        if trial.state == "running":
            trial.state, trial.finished_at = "cancelled", now_of(session)
            trial.cause = {"code": "study_ended", "message": "The study ended while the trial ran."}
    study.state, study.finished_at, study.error, study.look_at = state, now_of(session), error, None
    study.progress, study.message = 1.0, state if error is None else str(error["message"])
    session.flush()
    study.report = report_of(session, study)
    record_event(session, study.id, state, study.message, None, **_detail(error))


def _detail(error: JsonObject | None) -> JsonObject:
    return {} if error is None else {"error": error}


def stop_study(session: Session, study_id: str, error: JsonObject | None) -> Study | None:
    """End an open study before its time: its jobs are cancelled by the look that follows; with an error it ends as failed."""
    study = repository.find_locked(session, study_id)
    if study is None or study.state in (*repository.ENDED, "cancelling"):
        return study
    study.state, study.error, study.look_at = "cancelling", error, None
    study.message = "is being cancelled" if error is None else str(error["message"])
    record_event(session, study_id, "stopped", study.message, None, **_detail(error))
    return study


def cancel_open_job(session: Session, job_id: str) -> None:
    """Ask for the end of one of the study's jobs; one that ended in the meantime is left alone."""
    try:
        jobs.request_cancel(session, job_id)
    except ControllerError as err:
        if err.code != "state_forbids":
            raise


def finish_stopped(session: Session, study_id: str) -> None:
    """End a study that was stopped, once none of its jobs runs any more."""
    study = repository.find_locked(session, study_id)
    if study is None or study.state != "cancelling" or repository.open_jobs(session, study_id):
        return
    settle_trials(session, study, repository.trials_of(session, study_id))
    end_study(session, study, "cancelled" if study.error is None else "failed", study.error)
