"""Stage (a): the uncompressed model is measured on each kind of board, which fixes the frame of the search there.

What can be known to be impossible is said here, before any trial.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from edgefleet_compression.errors import CompressionError
from edgefleet_compression.search.objectives import Metric, framed
from edgefleet_compression.search.space import Cause
from edgefleet_compression.search.study import StudySpec
from edgefleet_controller.db.database import now_of
from edgefleet_controller.db.tables import Model, Study, Trial
from edgefleet_controller.studies.boards import BoardPlan
from edgefleet_controller.studies.events import record_event
from edgefleet_controller.studies.history import board_name, is_baseline
from edgefleet_controller.studies.outcomes import figure_of
from edgefleet_controller.studies.trials import plans_of, searches_of, start_baseline

JsonObject = dict[str, Any]


def begin_analysis(session: Session, study: Study, trials: Sequence[Trial]) -> None:
    """Start the baselines that have not been started. NoBoardNow for a kind of board without a device at the moment."""
    study.started_at = study.started_at or now_of(session)
    have = {board_name(trial) for trial in trials}
    number = len(trials)
    for plan, spec in searches_of(study):
        if plan.name not in have:
            start_baseline(session, study, plan, spec, number)
            number += 1


def finish_analysis(session: Session, study: Study, trials: Sequence[Trial]) -> JsonObject | None:
    """Freeze the searches by the baselines, which have all ended; the error of a study that no kind of board is left for."""
    baselines = {board_name(trial): trial for trial in trials if is_baseline(trial)}
    found: dict[str, JsonObject] = {}
    plans = []
    for plan in plans_of(study):
        if plan.spec is None:
            plans.append(plan)
            continue
        document = _of_baseline(baselines[plan.name])
        frozen = _freeze(plan, document)
        plans.append(frozen)
        found[plan.name] = document
        if frozen.left_out is not None:
            message = f"{plan.name} is left out: {frozen.left_out['message']}"
            record_event(session, study.id, "board_left_out", message, error=frozen.left_out)
    study.spec = study.spec | {"boards": [plan.as_json() for plan in plans]}
    model = session.get_one(Model, study.model_id)
    study.analysis = {
        "boards": found,
        "model": {"n_parameters": model.facts.get("n_parameters"), "format": model.format},
    }
    if any(plan.spec is not None for plan in plans):
        record_event(session, study.id, "analysed", f"the search begins on {', '.join(found)}")
        return None
    reasons = [{"board": plan.name, **(plan.left_out or {})} for plan in plans]
    first = next(reason for reason in reasons if reason["board"] in found)
    message = f"{first['board']}: {first['message']}"
    return {"code": first["code"], "message": message, "detail": {"boards": reasons}}


def _of_baseline(trial: Trial) -> JsonObject:
    outcome = trial.outcome or {}
    values = dict(outcome.get("values") or {})
    validated = outcome.get("validation_accuracy")
    on_device = values.get("accuracy")
    is_validated = validated is not None
    accuracy = validated if is_validated else (on_device or {}).get("value")
    return {
        "trial": trial.number,
        "target": trial.target,
        "values": values,
        "accuracy_from": "validation" if is_validated else "device",
        "accuracy": accuracy,
        "cause": trial.cause,
        "measurements": outcome.get("measurements") or [],
    }


def _freeze(plan: BoardPlan, baseline: JsonObject) -> BoardPlan:
    """The plan with its frame, or without a search and with the reason."""
    if baseline["cause"] is not None:
        why = f"the uncompressed model was not measured: {baseline['cause']['message']}"
        return replace(plan, spec=None, left_out={"code": baseline["cause"]["code"], "message": why})
    spec = StudySpec.model_validate(plan.spec)
    values: dict[Metric, float] = {metric: figure_of(value).value for metric, value in baseline["values"].items()}
    if baseline["accuracy"] is not None:
        values |= {"accuracy": float(baseline["accuracy"]), "retention": 1.0}
    try:
        objectives = framed(spec.objectives, values)
    except CompressionError as err:
        return replace(plan, spec=None, left_out={"code": err.code, "message": err.message})
    missing = _missing(spec, values)
    if missing is not None:
        return replace(plan, spec=None, left_out=missing.model_dump(mode="json"))
    return replace(plan, spec=spec.model_copy(update={"objectives": objectives}).model_dump(mode="json"))


def _missing(spec: StudySpec, values: dict[Metric, float]) -> Cause | None:
    """A constraint's metric that not even the uncompressed model has a figure of."""
    wanted = [item.metric for item in (*spec.constraints, *spec.goals)]
    lacking = next((metric for metric in wanted if metric not in values), None)
    if lacking is None:
        return None
    return Cause(
        code="objective_not_measurable",
        message=f"{lacking} was not measured of the uncompressed model. Leave the bound out, or see that run's reasons.",
    )
