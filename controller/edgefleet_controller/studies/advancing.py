"""Takes a study's turn: records trials that ended, proposes as many as may run, makes jobs of them; or ends the study.

It may be killed at any moment and taken again: a trial's row and its job are made in one transaction under the study's
row, and proposals follow from the recorded trials alone. The search itself computes outside of any transaction; what it
proposes counts only if no trial ended meanwhile, so that two turns at once do nothing twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from edgefleet_compression.errors import CompressionError
from edgefleet_compression.search.proposing import budget_used, finished, propose
from edgefleet_compression.search.study import Proposal, StudySpec, TrialRecord
from edgefleet_controller.db.database import Database, now_of
from edgefleet_controller.db.tables import Study, Trial
from edgefleet_controller.jobs import repository as jobs
from edgefleet_controller.studies import repository
from edgefleet_controller.studies.analysing import begin_analysis, finish_analysis
from edgefleet_controller.studies.boards import BoardPlan
from edgefleet_controller.studies.checking import advance_check, begin_check
from edgefleet_controller.studies.ending import end_study, stop_study
from edgefleet_controller.studies.events import record_event
from edgefleet_controller.studies.history import history_of
from edgefleet_controller.studies.submitting import NoBoardNow
from edgefleet_controller.studies.trials import searches_of, settle_trials, start_trial
from edgefleet_controller.studies.turns import OPEN

JsonObject = dict[str, Any]
LOOK_AGAIN = timedelta(seconds=30)
"""How long a study waits before it looks again for boards."""
MOST_TRIES = 50
"""Of one turn: trials that end while it computes, and proposals that no job can be made of, make it begin anew."""
SEARCH_SHARE = 0.9
"""Of the progress, the rest is the deployment check."""
Mark = tuple[int, int]
"""Trials of a study, and those of them that ended: the same as long as proposals stay right."""


@dataclass(frozen=True)
class Search:
    """The search on one kind of board as it stands."""

    plan: BoardPlan
    spec: StudySpec
    history: Sequence[TrialRecord]

    @property
    def n_running(self) -> int:
        """Trials that have not ended."""
        return sum(record.state == "running" for record in self.history)

    def proposals(self) -> tuple[Proposal, ...]:
        """As many new trials as may run now."""
        return propose(self.spec, self.history, self.spec.batch - self.n_running)


def take_turn(database: Database, study_id: str, turn: int) -> dict[str, int]:
    """Take this turn of the study; jobs of it that nobody has begun with their priorities, those of a killed try included."""
    try:
        for _ in range(MOST_TRIES):
            if _try_turn(database, study_id, turn):
                break
    except CompressionError as err:  # the search itself says that it cannot go on
        with database.writing() as session:
            stop_study(session, study_id, {"code": err.code, "message": err.message, "detail": err.detail})
    with database.reading() as session:
        return {job_id: jobs.turn_of(session, job_id) for job_id in repository.queued_jobs(session, study_id)}


def _try_turn(database: Database, study_id: str, turn: int) -> bool:
    """One try; False where it has to begin anew because the trials changed."""
    with database.writing() as session:
        study = repository.find_locked(session, study_id)
        if study is None or study.state not in OPEN:
            return True
        searches = _settle(session, study)
        if searches is None:
            study.turn_taken = max(study.turn_taken, turn)
            return True
        mark = _mark(repository.trials_of(session, study_id))
    proposed = [(search, search.proposals()) for search in searches]
    with database.writing() as session:
        study = repository.find_locked(session, study_id)
        if study is None or study.state not in OPEN:
            return True
        if _mark(repository.trials_of(session, study_id)) != mark:
            return False
        is_done = _carry_on(session, study, proposed)
        if is_done:
            study.turn_taken = max(study.turn_taken, turn)
        return is_done


def _mark(trials: Sequence[Trial]) -> Mark:
    return len(trials), sum(trial.state != "running" for trial in trials)


def _settle(session: Session, study: Study) -> list[Search] | None:
    """Record what ended; the searches where it is their turn, None where everything else was done here."""
    trials = repository.trials_of(session, study.id)
    settle_trials(session, study, trials)
    if study.state == "checking":
        _or_wait(session, study, advance_check)
        return None
    if study.analysis is None:
        if not _analyse(session, study, trials):
            return None
        trials = repository.trials_of(session, study.id)
    searches = [Search(plan, spec, history_of(trials, plan.name)) for plan, spec in searches_of(study)]
    _show_progress(study, searches)
    return searches


def _analyse(session: Session, study: Study, trials: Sequence[Trial]) -> bool:
    """Take the analysis on; True once the search may begin."""
    if len(trials) < len(searches_of(study)) and not _or_wait(session, study, begin_analysis, trials):
        return False
    trials = repository.trials_of(session, study.id)
    if any(trial.state == "running" for trial in trials):
        return False
    error = finish_analysis(session, study, trials)
    if error is not None:
        end_study(session, study, "failed", error)
        return False
    return True


def _or_wait(session: Session, study: Study, work: Any, *arguments: Any) -> bool:
    """Do the work; False where it found no board, so that the study waits for one."""
    try:
        work(session, study, *arguments)
    except NoBoardNow as err:
        wait_for_boards(session, study, err)
        return False
    if study.state in ("queued", "waiting"):
        _go_on(session, study)
    return True


def wait_for_boards(session: Session, study: Study, reason: NoBoardNow) -> None:
    """Let the study wait; it looks again after a while."""
    study.look_at = now_of(session) + LOOK_AGAIN
    if study.state == "waiting":
        return
    study.state = "waiting"
    study.error = {"code": "no_boards", "message": reason.message, "detail": {"board": reason.board}}
    study.message = f"waits for boards: {reason.message}"
    record_event(session, study.id, "waiting", study.message, error=study.error)


def _go_on(session: Session, study: Study) -> None:
    message = "the study begins" if study.state == "queued" else "its boards take runs again"
    study.state, study.error, study.look_at = "running", None, None
    record_event(session, study.id, "running", message)


def _carry_on(session: Session, study: Study, proposed: Sequence[tuple[Search, Sequence[Proposal]]]) -> bool:
    """Make the proposals trials, or end the search; False where a refused one has to be replaced."""
    number = len(repository.trials_of(session, study.id))
    is_refused = False
    for search, proposals in proposed:
        for proposal in proposals:
            try:
                is_refused |= not start_trial(session, study, search.plan, search.spec, number, proposal)
            except NoBoardNow as err:
                wait_for_boards(session, study, err)
                return True
            number += 1
    if study.state in ("queued", "waiting"):
        _go_on(session, study)
    if is_refused:
        return False
    if any(proposals or search.n_running for search, proposals in proposed):
        return True
    for search, _ in proposed:
        cause = finished(search.spec, search.history)
        why = "no further recipe was found" if cause is None else cause.message
        record_event(session, study.id, "searched", f"{search.plan.name}: {why}")
    if not _or_wait(session, study, begin_check):
        return True
    if study.state == "running":
        end_study(session, study, "completed")
    return True


def _show_progress(study: Study, searches: Sequence[Search]) -> None:
    shares = [
        min(1.0, (budget_used(search.spec, search.history) - search.n_running) / search.spec.n_trials)
        for search in searches
    ]
    share = SEARCH_SHARE if study.request["finalists"] else 1.0
    study.progress = max(study.progress, share * max(0.0, sum(shares) / max(1, len(shares))))
    n_ended = sum(record.state != "running" for search in searches for record in search.history)
    n_completed = sum(record.state == "complete" for search in searches for record in search.history)
    study.message = f"{n_completed} of {n_ended} ended trials completed"
