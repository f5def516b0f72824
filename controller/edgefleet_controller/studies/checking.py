"""Stage (d): the finalists of each kind of board are measured again, in turns, on every device of that kind.

A round is a job of all finalists and the uncompressed model, each once on each device; the next round takes them in
another order, so that a board that warms up or slows down meets all of them alike.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from edgefleet_compression.search.study import StudySpec
from edgefleet_controller.db.database import now_of
from edgefleet_controller.db.tables import Job, Model, Study, Trial
from edgefleet_controller.jobs.repository import ENDED as JOB_ENDED
from edgefleet_controller.studies import repository
from edgefleet_controller.studies.boards import BoardPlan
from edgefleet_controller.studies.ending import end_study
from edgefleet_controller.studies.events import record_event
from edgefleet_controller.studies.finalists import choose_finalists
from edgefleet_controller.studies.history import board_name, history_of, is_baseline
from edgefleet_controller.studies.in_turns import is_over, start_comparison
from edgefleet_controller.studies.reporting import board_report
from edgefleet_controller.studies.submitting import TrialRefused, submit_round
from edgefleet_controller.studies.trials import searches_of

JsonObject = dict[str, Any]
LOOK_AT_COMPARISONS = timedelta(seconds=5)
"""Their runs tell no study that they ended."""


def begin_check(session: Session, study: Study) -> None:
    """Choose the finalists and start the first round; nothing where there are none. NoBoardNow."""
    if study.checks is None:
        trials = repository.trials_of(session, study.id)
        boards = {plan.name: _board(study, plan, spec, trials) for plan, spec in searches_of(study)}
        boards = {name: board for name, board in boards.items() if board["finalists"]}
        if not boards:
            return
        study.checks = {"n_rounds": study.request["rounds"], "boards": boards}
        for name, board in boards.items():
            listed = ", ".join(f"#{number}" for number in board["finalists"])
            record_event(session, study.id, "check_started", f"{name}: trials {listed} are measured again")
    study.state = "checking"
    advance_check(session, study)


def advance_check(session: Session, study: Study) -> None:
    """Start the rounds that are due; the study ends with the last one. NoBoardNow."""
    checks: JsonObject = dict(study.checks or {"boards": {}, "n_rounds": 0})
    boards: JsonObject = dict(checks["boards"])
    is_done = True
    for plan, _ in searches_of(study):
        if plan.name not in boards:
            continue
        board = dict(boards[plan.name])
        if _is_open(session, board):
            is_done = False
        elif len(board["rounds"]) < checks["n_rounds"] and board["error"] is None:
            boards[plan.name] = _next_round(session, study, plan, board)
            study.checks = checks | {"boards": boards}
            is_done = is_done and boards[plan.name]["error"] is not None
        elif board["comparisons"] is None:
            boards[plan.name] = board | {"comparisons": _compare(session, study, plan, board)}
            study.checks = checks | {"boards": boards}
        is_done = is_done and is_over(session, boards[plan.name]["comparisons"] or ())
    _show_progress(study)
    if not is_done and any(board["comparisons"] for board in boards.values()):
        study.look_at = now_of(session) + LOOK_AT_COMPARISONS
    if is_done:
        end_study(session, study, "completed")


def _board(study: Study, plan: BoardPlan, spec: StudySpec, trials: Sequence[Trial]) -> JsonObject:
    by_ordinal = {
        trial.proposal["ordinal"]: trial.number
        for trial in trials
        if board_name(trial) == plan.name and not is_baseline(trial)
    }
    chosen = choose_finalists(spec, history_of(trials, plan.name), int(study.request["finalists"]))
    return {
        "finalists": [by_ordinal[record.number] for record in chosen],
        "rounds": [],
        "comparisons": None,
        "error": None,
    }


def _is_open(session: Session, board: JsonObject) -> bool:
    """Whether jobs of its last round have not ended."""
    last = board["rounds"][-1] if board["rounds"] else []
    return any(session.get_one(Job, job_id).state not in JOB_ENDED for job_id in last)


def _next_round(session: Session, study: Study, plan: BoardPlan, board: JsonObject) -> JsonObject:
    n_before = len(board["rounds"])
    trials = {trial.number: trial for trial in repository.trials_of(session, study.id)}
    finalists = [trials[number] for number in board["finalists"]]
    baseline = next(trial for trial in trials.values() if is_baseline(trial) and board_name(trial) == plan.name)
    by_target: dict[str, list[JsonObject]] = {}
    for trial in [baseline, *finalists]:
        by_target.setdefault(trial.target, []).append(trial.recipe)
    job_ids = []
    try:
        for target, recipes in by_target.items():
            turn = n_before % len(recipes)
            label = f"check {n_before + 1} {plan.name}"
            ordered = [*recipes[turn:], *recipes[:turn]]
            job = submit_round(session, study, plan, label=label, recipes=ordered, target=target)
            job_ids.append(job.id)
    except TrialRefused as refusal:
        if not job_ids:
            return board | {"error": refusal.cause}
    record_event(session, study.id, "check_round", f"{plan.name}: round {n_before + 1}", job_ids=job_ids)
    return board | {"rounds": [*board["rounds"], job_ids]}


def _compare(session: Session, study: Study, plan: BoardPlan, board: JsonObject) -> list[str]:
    """Start the comparison of what is recommended by the rounds; none where nothing is, or it is not wanted."""
    if not study.request["compare"] or not board["rounds"]:
        return []
    trials = repository.trials_of(session, study.id)
    model = session.get_one(Model, study.model_id)
    recommended = board_report(session, study, plan, trials, model)["recommended"]["trial"]
    if recommended is None:
        return []
    by_number = {trial.number: trial for trial in trials}
    baseline = next(trial for trial in trials if is_baseline(trial) and board_name(trial) == plan.name)
    return start_comparison(session, study, plan, board["rounds"][0], baseline, by_number[recommended])


def _show_progress(study: Study) -> None:
    checks = study.checks or {"boards": {}, "n_rounds": 1}
    shares = [len(board["rounds"]) / (checks["n_rounds"] + 1) for board in checks["boards"].values()]
    study.progress = max(study.progress, 0.9 + 0.1 * (sum(shares) / max(1, len(shares))))
    study.message = "the finalists are measured again in turns"
