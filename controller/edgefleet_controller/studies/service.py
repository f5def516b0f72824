"""Submits, shows and cancels studies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from edgefleet_compression.search.objectives import is_feasible
from edgefleet_compression.search.policy import Policy
from edgefleet_compression.search.study import StudySpec
from edgefleet_controller.db.database import announce, now_of
from edgefleet_controller.db.idempotency import begin_once, finish_once
from edgefleet_controller.db.identifiers import new_id
from edgefleet_controller.db.tables import Study, Trial
from edgefleet_controller.errors import NotFound, StateForbids
from edgefleet_controller.jobs.errors import DeadlinePassed, UnknownTarget
from edgefleet_controller.models import service as models
from edgefleet_controller.pagination import Page, PageRequest
from edgefleet_controller.studies import repository
from edgefleet_controller.studies.boards import plan_boards
from edgefleet_controller.studies.ending import stop_study
from edgefleet_controller.studies.errors import InvalidStudy, NothingToReport
from edgefleet_controller.studies.events import record_event
from edgefleet_controller.studies.history import board_name, is_baseline, record_of
from edgefleet_controller.studies.planning import with_searches
from edgefleet_controller.studies.reporting import report_of
from edgefleet_controller.studies.schemas import Stage, StudyCreate, StudySummary, StudyView, TrialCounts, TrialView
from edgefleet_controller.studies.trials import plans_of
from edgefleet_deploy.targets import TARGETS

JsonObject = dict[str, Any]
SUBMIT = "POST /v1/studies"
EARLIER_STUDIES = 8
"""How many of them a new one learns from."""


@dataclass(frozen=True)
class Submission:
    """The answer to a submitted study; a replay did nothing."""

    study: StudyView
    is_replay: bool


def submit(session: Session, request: StudyCreate, idempotency_key: str | None) -> Submission:
    """Create a study, or answer again what was answered to this key before."""
    if idempotency_key is None:
        return Submission(view(session, create(session, request)), is_replay=False)
    stored = begin_once(session, idempotency_key, SUBMIT, request.model_dump_json())
    if stored is not None:
        return Submission(StudyView.model_validate(stored), is_replay=True)
    created = view(session, create(session, request))
    finish_once(session, idempotency_key, SUBMIT, 202, created.model_dump(mode="json"))
    return Submission(created, is_replay=False)


def create(session: Session, request: StudyCreate) -> Study:
    """A queued study; refuses what could never be found, with the code that says why."""
    model = models.choose(session, request.model)
    for target in request.targets:
        if target not in TARGETS:
            raise UnknownTarget(f"No target is called {target!r}; the targets are {', '.join(sorted(TARGETS))}.")
    now = now_of(session)
    if request.deadline is not None and request.deadline <= now:
        raise DeadlinePassed(f"The deadline {request.deadline.isoformat()} is not in the future.")
    if request.ladder is not None and any(level.measurement == "estimated" for level in request.ladder.levels):
        raise InvalidStudy(
            "fidelity_unsupported", "A fleet measures: give levels the measurement quick or full, not estimated."
        )
    policies = earlier_policies(session) if request.reuse and request.space is None else []
    plans = with_searches(plan_boards(session, request, model), request, model, policies)
    study = Study(
        id=new_id("stu"),
        name=request.name or f"search of {model.name}",
        model_id=model.id,
        state="queued",
        request=request.model_dump(mode="json"),
        spec={"boards": [plan.as_json() for plan in plans]},
        progress=0.0,
        message="waits for a worker",
        created_at=now,
        deadline_at=request.deadline,
        turn=1,
        turn_taken=0,
        version=1,
    )
    session.add(study)
    session.flush()
    searched = [plan.name for plan in plans if plan.spec is not None]
    record_event(session, study.id, "submitted", f"searches on {', '.join(searched)}")
    for plan in plans:
        if plan.left_out is not None:
            message = f"{plan.name} is left out: {plan.left_out['message']}"
            record_event(session, study.id, "board_left_out", message, error=plan.left_out)
    announce(session, "study", study.id)
    return study


def earlier_policies(session: Session) -> list[Policy]:
    """What the caller's last completed studies have taught, see their reports."""
    reports = [study.report or {} for study in repository.last_completed(session, EARLIER_STUDIES)]
    found = [board["policy"] for report in reports for board in report.get("boards", ()) if board.get("policy")]
    return [Policy.model_validate(document) for document in found]


def find(session: Session, study_id: str) -> Study:
    """The study; NotFound if there is none."""
    study = repository.find(session, study_id)
    if study is None:
        raise NotFound(f"There is no study {study_id!r}; list them with `edgefleet study list`.")
    return study


def cancel(session: Session, study_id: str) -> Study:
    """Ask for the end of a study, which keeps what it has; repeating it changes nothing. StateForbids once it ended by itself."""
    study = find(session, study_id)
    if study.state in ("completed", "failed"):
        raise StateForbids(f"The study has {study.state} already; there is nothing to cancel.")
    stopped = stop_study(session, study_id, None)
    return study if stopped is None else stopped


def summary(study: Study, counts: Mapping[str, int]) -> StudySummary:
    """The study as lists show it."""
    fields = {name: getattr(study, name) for name in StudySummary.model_fields if name not in ("stage", "trials")}
    return StudySummary(**fields, stage=stage_of(study), trials=TrialCounts(**counts))


def stage_of(study: Study) -> Stage:
    """Which of its stages the study is in."""
    if study.state in repository.ENDED:
        return "done"
    if study.analysis is None:
        return "analysis"
    return "search" if study.checks is None else "check"


def view(session: Session, study: Study) -> StudyView:
    """The study as the API shows it."""
    session.flush()
    session.refresh(study)
    counts = repository.count_trials(session, [study.id])[study.id]
    boards = [plan.as_json() for plan in plans_of(study)]
    shown = summary(study, counts).model_dump()
    return StudyView(**shown, request=study.request, boards=boards, analysis=study.analysis)


def page_of_summaries(session: Session, page: PageRequest) -> Page[StudySummary]:
    """A page of studies, newest first."""
    rows, cursor = repository.page_of_studies(session, page)
    counts = repository.count_trials(session, [row.id for row in rows])
    return Page[StudySummary](items=[summary(row, counts[row.id]) for row in rows], next_cursor=cursor)


def trial_views(study: Study, trials: Sequence[Trial]) -> list[TrialView]:
    """The trials as the API shows them."""
    specs = {plan.name: StudySpec.model_validate(plan.spec) for plan in plans_of(study) if plan.spec is not None}
    return [_trial_view(trial, specs.get(board_name(trial))) for trial in trials]


def _trial_view(trial: Trial, spec: StudySpec | None) -> TrialView:
    outcome = trial.outcome or {}
    values: JsonObject = outcome.get("values") or {}
    feasible = None
    if not is_baseline(trial):
        record = record_of(trial)
        values = {metric: one.model_dump(mode="json") for metric, one in record.values.items()}
        if spec is not None and record.state == "complete":
            feasible = is_feasible(spec.constraints, record.estimates)
    named = ("board", "ordinal", "point", "fidelity", "origin", "promoted_from")
    columns = ("number", "recipe", "target", "state", "job_id", "cause", "created_at", "finished_at")
    return TrialView(
        **{name: trial.proposal[name] for name in named},
        **{name: getattr(trial, name) for name in columns},
        values=values,
        feasible=feasible,
        measurements=outcome.get("measurements") or [],
    )


def report(session: Session, study: Study) -> JsonObject:
    """The report: as it was written at the end, or as far as it can be written now. NothingToReport without a trial."""
    if study.report is not None:
        return study.report
    if not repository.trials_after(session, study.id, -1, 1):
        raise NothingToReport
    return report_of(session, study)
