"""The report of a study: what was asked for, what was tried, the front of each kind of board, and what to ship there.

It is a function of the stored trials and runs alone, so that a study that was killed and taken up again ends with the same.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from edgefleet_compression.search.estimates import Estimate
from edgefleet_compression.search.objectives import Metric, is_feasible, probability_feasible, violations
from edgefleet_compression.search.policy import learn
from edgefleet_compression.search.proposing import finished
from edgefleet_compression.search.ranking import by_merit
from edgefleet_compression.search.recommend import recommend
from edgefleet_compression.search.study import StudySpec, TrialRecord, at_full_fidelity
from edgefleet_compression.search.summary import front_of, volume_by_trial
from edgefleet_controller.db.tables import Model, Study, Trial
from edgefleet_controller.studies import repository
from edgefleet_controller.studies.boards import BoardPlan
from edgefleet_controller.studies.finalists import remeasured
from edgefleet_controller.studies.history import board_name, history_of
from edgefleet_controller.studies.in_turns import compared
from edgefleet_controller.studies.rounds import (
    BASELINE_NAME,
    Measured,
    collect,
    disagreements,
    of_kind,
    rows_of,
    speedup,
    together,
)
from edgefleet_controller.studies.spaces import nature_of_model
from edgefleet_controller.studies.trials import plans_of

JsonObject = dict[str, Any]
FORM = 1
"""Raised when the document changes so that readers have to know."""


def report_of(session: Session, study: Study) -> JsonObject:
    """The report as it can be written now; ``partial`` while the study has not ended by itself."""
    trials = repository.trials_of(session, study.id)
    model = session.get_one(Model, study.model_id)
    return {
        "form": FORM,
        "study": study.id,
        "name": study.name,
        "model": {"id": model.id, "name": model.name, "sha256": model.blob_sha256},
        "state": study.state,
        "partial": study.state != "completed",
        "error": study.error,
        "request": study.request,
        "boards": [board_report(session, study, plan, trials, model) for plan in plans_of(study)],
    }


def board_report(session: Session, study: Study, plan: BoardPlan, trials: Sequence[Trial], model: Model) -> JsonObject:
    """What is known of one kind of board."""
    baseline = ((study.analysis or {}).get("boards") or {}).get(plan.name)
    document: JsonObject = {
        "board": plan.name,
        "kind": plan.kind,
        "devices": list(plan.device_names),
        "targets": list(plan.targets),
        "left_out": plan.left_out,
        "baseline": baseline,
    }
    if plan.spec is None:
        return document
    spec = StudySpec.model_validate(plan.spec)
    own = {trial.proposal["ordinal"]: trial for trial in trials if board_name(trial) == plan.name}
    own.pop(None, None)
    history = history_of(own.values(), plan.name)
    document |= _searched(spec, history, own)
    document["failures"] = _failures(list(own.values()))
    document["check"] = _checked(session, study, plan, spec, own)
    document["recommended"] = _recommended(spec, history, document["check"], own)
    document["policy"] = learn(spec, history, nature_of_model(model).family).model_dump(mode="json")
    return document


def _searched(spec: StudySpec, history: Sequence[TrialRecord], trials: Mapping[int, Trial]) -> JsonObject:
    cause = finished(spec, history)
    counts = Counter(record.state for record in history)
    full = at_full_fidelity(spec, history)
    return {
        "objectives": [item.model_dump(mode="json") for item in spec.objectives],
        "constraints": [str(item) for item in spec.constraints],
        "goals": [str(item) for item in spec.goals],
        "space": {
            "axes": [axis.name for axis in spec.space.axes],
            "size": spec.space.size,
            "left_out": [item.model_dump(mode="json") for item in spec.space.left_out],
        },
        "trials": {
            "budget": spec.n_trials,
            "completed": counts["complete"],
            "failed": counts["failed"],
            "running": counts["running"],
            "feasible": sum(is_feasible(spec.constraints, record.estimates) for record in full),
        },
        "finished": None if cause is None else cause.model_dump(mode="json"),
        "front": _front(spec, history, trials),
        "nearest": _nearest(spec, full, trials),
        "hypervolume": [
            {"ordinal": ordinal, "share": share} for ordinal, share in enumerate(volume_by_trial(spec, history))
        ],
    }


def _front(spec: StudySpec, history: Sequence[TrialRecord], trials: Mapping[int, Trial]) -> list[JsonObject]:
    return [
        {
            "trial": trials[member.record.number].number,
            "values": values_json(member.record.estimates),
            "probability_feasible": member.probability_feasible,
            "probability_dominated": member.probability_dominated,
        }
        for member in front_of(spec, history)
    ]


def _nearest(spec: StudySpec, full: Sequence[TrialRecord], trials: Mapping[int, Trial]) -> JsonObject | None:
    """Where nothing keeps the constraints: the trial that is nearest to it; None otherwise."""
    if not full or any(is_feasible(spec.constraints, record.estimates) for record in full):
        return None
    record = by_merit(spec, full)[0]
    return {
        "trial": trials[record.number].number,
        "values": values_json(record.estimates),
        "violations": violations(spec.constraints, record.estimates),
    }


def _failures(trials: Sequence[Trial]) -> list[JsonObject]:
    causes: dict[str, JsonObject] = {}
    for trial in trials:
        if trial.cause is None:
            continue
        code = str(trial.cause["code"])
        known = causes.setdefault(code, {"code": code, "message": trial.cause["message"], "trials": []})
        known["trials"].append(trial.number)
    return sorted(causes.values(), key=lambda one: (-len(one["trials"]), one["code"]))


def _checked(
    session: Session, study: Study, plan: BoardPlan, spec: StudySpec, trials: Mapping[int, Trial]
) -> JsonObject | None:
    board = ((study.checks or {}).get("boards") or {}).get(plan.name)
    if board is None:
        return None
    measured = collect(rows_of(session, job_ids) for job_ids in board["rounds"])
    baseline = next((found for (name, _), found in measured.items() if name == BASELINE_NAME), {})
    finalists = [trial for trial in trials.values() if trial.number in board["finalists"]]
    finalists.sort(key=lambda trial: board["finalists"].index(trial.number))
    entries = [
        _entry(spec, trial, measured.get((trial.recipe["name"], trial.target), {}), baseline) for trial in finalists
    ]
    return {
        "rounds": len(board["rounds"]),
        "jobs": [job_id for job_ids in board["rounds"] for job_id in job_ids],
        "error": board["error"],
        "baseline": [_device_json(one, None) for one in baseline.values()],
        "finalists": entries,
        "in_turns": compared(session, board["comparisons"] or ()),
    }


def _entry(
    spec: StudySpec, trial: Trial, found: Mapping[str, Measured], baseline: Mapping[str, Measured]
) -> JsonObject:
    devices = {one.device: together(one) for one in found.values() if one.rounds}
    values = of_kind(devices)
    return {
        "trial": trial.number,
        "recipe": trial.recipe,
        "target": trial.target,
        "artifact_sha256": next((one.artifact_sha256 for one in found.values()), None),
        "values": values_json(values),
        "feasible": is_feasible(spec.constraints, values),
        "probability_feasible": probability_feasible(spec.constraints, values) if values else 0.0,
        "violations": violations(spec.constraints, values),
        "devices": [_device_json(one, baseline.get(one.device_id)) for one in found.values()],
        "disagreements": disagreements(devices),
    }


def _device_json(measured: Measured, baseline: Measured | None) -> JsonObject:
    faster = None if baseline is None else speedup(baseline, measured)
    less = None if baseline is None else speedup(baseline, measured, "energy_mj")
    return {
        "device": measured.device,
        "device_id": measured.device_id,
        "provenance": measured.provenance,
        "rounds": len(measured.rounds),
        "verdicts": measured.verdicts,
        "runs": measured.run_ids,
        "values": values_json(together(measured)) if measured.rounds else {},
        "speedup_p50": None if faster is None else estimate_json(faster),
        "energy_ratio": None if less is None else estimate_json(less),
    }


def _recommended(
    spec: StudySpec, history: Sequence[TrialRecord], checked: JsonObject | None, trials: Mapping[int, Trial]
) -> JsonObject:
    """The trial to ship and the final front, by the check's figures where there was one, else by the search's."""
    ordinals = {trial.number: ordinal for ordinal, trial in trials.items()}
    values = {
        ordinals[entry["trial"]]: {metric: _estimate(one) for metric, one in entry["values"].items()}
        for entry in (checked or {}).get("finalists", ())
    }
    again = remeasured(spec, history, values)
    records = again or history
    found = recommend(spec, records).model_dump(mode="json")
    numbers = {name: None if found[name] is None else trials[found[name]].number for name in ("trial", "nearest")}
    chosen = None if found["trial"] is None else trials[found["trial"]]
    return {
        **found,
        **numbers,
        "by": "check" if again else "search",
        "front": [trials[member.record.number].number for member in front_of(spec, records)],
        "recipe": None if chosen is None else chosen.recipe,
        "target": None if chosen is None else chosen.target,
        "artifact_sha256": None if chosen is None else _artifact_of(chosen),
    }


def _artifact_of(trial: Trial) -> str | None:
    measurements: list[JsonObject] = (trial.outcome or {}).get("measurements") or []
    return next((one["artifact_sha256"] for one in measurements if one["artifact_sha256"]), None)


def values_json(values: Mapping[Metric, Estimate]) -> JsonObject:
    """Figures with their intervals."""
    return {metric: estimate_json(value) for metric, value in sorted(values.items())}


def estimate_json(value: Estimate) -> JsonObject:
    """A figure with its 95 % interval."""
    return {"value": value.value, "standard_error": value.standard_error, "interval": list(value.interval)}


def _estimate(document: Mapping[str, Any]) -> Estimate:
    return Estimate(float(document["value"]), float(document["standard_error"]))
