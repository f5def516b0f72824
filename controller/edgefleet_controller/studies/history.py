"""The trials of a study as the library's histories, one for each kind of board."""

from collections.abc import Iterable, Mapping
from typing import Any

from edgefleet_compression.search.objectives import Metric
from edgefleet_compression.search.space import Cause
from edgefleet_compression.search.study import Proposal, StudySpec, TrialRecord, completed, failed, started
from edgefleet_controller.canonical import canonical_sha256
from edgefleet_controller.db.tables import Trial
from edgefleet_controller.studies.outcomes import Outcome

JsonObject = dict[str, Any]
BASELINE = "baseline"
"""Origin of the trial that measures the uncompressed model, which is no part of the search."""


def proposal_json(board: str, proposal: Proposal) -> JsonObject:
    """What the trial's row keeps of a proposal; the recipe and the target have columns of their own."""
    document = proposal.model_dump(mode="json", exclude={"recipe", "target", "number"})
    return {"board": board, "ordinal": proposal.number, **document}


def baseline_json(board: str, fidelity: str) -> JsonObject:
    """The same of the baseline."""
    return {
        "board": board,
        "ordinal": None,
        "point": {},
        "fidelity": fidelity,
        "origin": BASELINE,
        "promoted_from": None,
    }


def proposal_of(trial: Trial) -> Proposal:
    """The proposal that a trial of the search was made of."""
    kept = {name: value for name, value in trial.proposal.items() if name not in ("board", "ordinal")}
    document = {**kept, "number": trial.proposal["ordinal"], "recipe": trial.recipe, "target": trial.target}
    return Proposal.model_validate(document)


def board_name(trial: Trial) -> str:
    """The kind of board that the trial is of."""
    return str(trial.proposal["board"])


def is_baseline(trial: Trial) -> bool:
    """Whether it measures the uncompressed model."""
    return bool(trial.proposal["origin"] == BASELINE)


def key_of(board: str, fidelity: str, recipe: Mapping[str, Any], target: str) -> str:
    """SHA-256 of what the trial measures."""
    return canonical_sha256({"board": board, "fidelity": fidelity, "recipe": dict(recipe), "target": target})


def record_of(trial: Trial) -> TrialRecord:
    """The trial as the library's history holds it."""
    if trial.state == "running":
        return started(proposal_of(trial))
    if trial.outcome is not None and "record" in trial.outcome:
        return TrialRecord.model_validate(trial.outcome["record"])
    cause = trial.cause or {"code": "cancelled", "message": "The study was ended while the trial ran."}
    return failed(proposal_of(trial), Cause(code=str(cause["code"]), message=str(cause["message"])))


def history_of(trials: Iterable[Trial], board: str) -> list[TrialRecord]:
    """The records of a kind of board in the order of its search."""
    own = [trial for trial in trials if board_name(trial) == board and not is_baseline(trial)]
    return sorted((record_of(trial) for trial in own), key=lambda record: record.number)


def ended_record(spec: StudySpec, trial: Trial, outcome: Outcome, values: Mapping[Metric, Any]) -> TrialRecord:
    """The record of a trial whose job has ended."""
    proposal = proposal_of(trial)
    if outcome.cause is not None:
        return failed(proposal, Cause(code=outcome.cause["code"], message=outcome.cause["message"]))
    return completed(spec, proposal, values)
