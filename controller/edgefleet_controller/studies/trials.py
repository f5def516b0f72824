"""Rows of trials: made with their jobs, and ended with them. All within the transaction that holds the study's row."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from edgefleet_compression.search.space import Cause
from edgefleet_compression.search.study import Proposal, StudySpec, TrialRecord, failed
from edgefleet_controller.db.database import now_of
from edgefleet_controller.db.tables import Job, Study, Trial
from edgefleet_controller.jobs.repository import ENDED as JOB_ENDED
from edgefleet_controller.studies.boards import BoardPlan, board_of
from edgefleet_controller.studies.events import record_event
from edgefleet_controller.studies.history import (
    baseline_json,
    board_name,
    ended_record,
    is_baseline,
    key_of,
    proposal_json,
)
from edgefleet_controller.studies.outcomes import Outcome, figure_json, outcome_of, with_retention
from edgefleet_controller.studies.submitting import TrialRefused, settings_at, submit_trial

JsonObject = dict[str, Any]


def plans_of(study: Study) -> list[BoardPlan]:
    """The study's kinds of board, those without a search included."""
    return [board_of(document) for document in study.spec["boards"]]


def searches_of(study: Study) -> list[tuple[BoardPlan, StudySpec]]:
    """The kinds of board that are searched on, with their searches."""
    return [(plan, StudySpec.model_validate(plan.spec)) for plan in plans_of(study) if plan.spec is not None]


def start_baseline(session: Session, study: Study, plan: BoardPlan, spec: StudySpec, number: int) -> None:
    """Measure the uncompressed model; it fails at once where no job can be made of it. NoBoardNow."""
    level = spec.ladder.levels[-1]
    recipe = {"name": "baseline", "passes": [], "seed": spec.space.seed}
    _start(session, study, plan, spec, number, baseline_json(plan.name, level.name), recipe, plan.reference_target)


def start_trial(
    session: Session, study: Study, plan: BoardPlan, spec: StudySpec, number: int, proposal: Proposal
) -> bool:
    """Make the proposal a trial with its job; False where no job can be made of it, so that it failed. NoBoardNow."""
    recipe = proposal.recipe.model_dump(mode="json")
    trial = _start(session, study, plan, spec, number, proposal_json(plan.name, proposal), recipe, proposal.target)
    if trial.cause is None:
        return True
    record = failed(proposal, Cause(code=trial.cause["code"], message=trial.cause["message"]))
    trial.outcome = {"record": record.model_dump(mode="json"), "measurements": []}
    return False


def _start(
    session: Session,
    study: Study,
    plan: BoardPlan,
    spec: StudySpec,
    number: int,
    proposal: JsonObject,
    recipe: JsonObject,
    target: str,
) -> Trial:
    cause, job = None, None
    settings = settings_at(study.request, spec.ladder.level(proposal["fidelity"]))
    place, label = proposal["ordinal"] or 0, f"#{number}"
    try:
        job = submit_trial(
            session, study, plan, label=label, place=place, recipe=recipe, target=target, settings=settings
        )
    except TrialRefused as refusal:
        cause = refusal.cause
    now = now_of(session)
    trial = Trial(
        study_id=study.id,
        number=number,
        proposal=proposal,
        recipe=recipe,
        target=target,
        key_sha256=key_of(plan.name, proposal["fidelity"], recipe, target),
        job_id=None if job is None else job.id,
        state="running" if cause is None else "failed",
        cause=cause,
        created_at=now,
        finished_at=None if cause is None else now,
    )
    session.add(trial)
    session.flush()
    what = f"trial {number} on {plan.name}: {recipe['name']} for {target}"
    if cause is None:
        record_event(session, study.id, "trial_started", what, trial=number, job_id=trial.job_id)
    else:
        record_event(session, study.id, "trial_failed", f"{what}: {cause['message']}", trial=number, error=cause)
    return trial


def settle_trials(session: Session, study: Study, trials: list[Trial]) -> None:
    """End the trials whose jobs have ended."""
    specs = {plan.name: spec for plan, spec in searches_of(study)}
    for trial in trials:
        if trial.state != "running" or trial.job_id is None:
            continue
        job = session.get_one(Job, trial.job_id)
        if job.state in JOB_ENDED:
            _settle(session, study, trial, job, specs.get(board_name(trial)))


def _settle(session: Session, study: Study, trial: Trial, job: Job, spec: StudySpec | None) -> None:
    chosen: Mapping[str, Any] = ((study.analysis or {}).get("boards") or {}).get(board_name(trial)) or {}
    outcome = outcome_of(session, job, chosen.get("accuracy_from", "device"))
    trial.finished_at = job.finished_at or now_of(session)
    if study.state == "cancelling" and job.state == "cancelled" and outcome.cause is not None:
        trial.state = "cancelled"
        trial.cause = {"code": "study_ended", "message": "The study was ended while the trial ran."}
        return
    if is_baseline(trial) or spec is None:
        _end_baseline(session, trial, job, outcome)
    else:
        values = with_retention(outcome.values, chosen.get("accuracy"))
        record = ended_record(spec, trial, outcome, values)
        trial.outcome = {"record": record.model_dump(mode="json"), "measurements": list(outcome.measurements)}
        _mark(trial, record)
    what = f"trial {trial.number}: {trial.recipe['name']}"
    if trial.cause is None:
        record_event(session, study.id, "trial_completed", f"{what} completed", trial=trial.number)
    else:
        message = f"{what} failed: {trial.cause['message']}"
        record_event(session, study.id, "trial_failed", message, trial=trial.number, error=trial.cause)


def _end_baseline(session: Session, trial: Trial, job: Job, outcome: Outcome) -> None:
    validated = outcome_of(session, job, "validation").values.get("accuracy")
    known = dict(outcome.values) | ({} if validated is None else {"accuracy": validated})
    values = {metric: figure_json(value) for metric, value in known.items()}
    trial.outcome = {
        "values": values,
        "validation_accuracy": None if validated is None else validated.value,
        "measurements": list(outcome.measurements),
    }
    trial.state = "completed" if outcome.cause is None else "failed"
    trial.cause = outcome.cause


def _mark(trial: Trial, record: TrialRecord) -> None:
    trial.state = "completed" if record.state == "complete" else "failed"
    trial.cause = None if record.cause is None else record.cause.model_dump(mode="json")
