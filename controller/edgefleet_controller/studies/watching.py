"""What looks after studies without a request: their turns reach the engine, waiting ones look again, stopped ones end."""

from datetime import datetime

from edgefleet_controller.services import Services
from edgefleet_controller.studies import repository
from edgefleet_controller.studies.ending import cancel_open_job, finish_stopped, stop_study
from edgefleet_controller.studies.turns import ask_turn


def start_due_turns(services: Services) -> datetime | None:
    """Hand turns that are due to the engine, raise those of studies whose time has come; when the next one's comes.

    A turn that the engine has already is not begun twice.
    """
    now = services.clock.now()
    with services.database.reading() as session:
        next_at = repository.next_look(session)
    if next_at is not None and next_at <= now:
        _look_again(services, now)
        with services.database.reading() as session:
            next_at = repository.next_look(session)
    with services.database.reading() as session:
        due = repository.due_turns(session)
    for study_id, turn in due.items():
        services.engine.start_turn(study_id, turn)
    return next_at


def start_turn_of(services: Services, study_id: str) -> None:
    """The same for one study, at once."""
    with services.database.reading() as session:
        turn = repository.due_turn_of(session, study_id)
    if turn is not None:
        services.engine.start_turn(study_id, turn)


def _look_again(services: Services, now: datetime) -> None:
    with services.database.reading() as session:
        study_ids = repository.find_due(session, now)
    for study_id in study_ids:
        with services.database.writing() as session:
            study = repository.find_locked(session, study_id)
            if study is None:
                continue
            if study.deadline_at is not None and study.deadline_at <= now:
                stamp = study.deadline_at.isoformat().replace("+00:00", "Z")
                message = f"The deadline {stamp} passed before the search was done; what was measured by then stays."
                stop_study(session, study_id, {"code": "deadline_exceeded", "message": message, "detail": {}})
            else:
                study.look_at = None
                ask_turn(session, study_id)


def finish_stopped_studies(services: Services) -> None:
    """Cancel the jobs of studies that were stopped, and end those that have none left."""
    with services.database.reading() as session:
        stopped = {
            study_id: repository.open_jobs(session, study_id) for study_id in repository.find_cancelling(session)
        }
    for study_id, job_ids in stopped.items():
        for job_id in job_ids:
            with services.database.writing() as session:
                cancel_open_job(session, job_id)
        if not job_ids:
            with services.database.writing() as session:
                finish_stopped(session, study_id)


def revive_lost_studies(services: Services) -> None:
    """Give a turn to studies that nothing would go on with: those without a job or a turn, and those whose task was lost."""
    with services.database.reading() as session:
        idle = list(repository.find_idle(session))
        due = repository.due_turns(session)
    live = services.engine.live_jobs(list(due)) if due else ()
    for study_id in [*idle, *(one for one in due if one not in live)]:
        with services.database.writing() as session:
            ask_turn(session, study_id)
