"""``/v1/studies``."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response, status

from edgefleet_controller.jobs.endpoints import IdempotencyKey, Since, Wait
from edgefleet_controller.pagination import Page, PageQuery
from edgefleet_controller.services import ReadSession, ServicesOf, WriteSession
from edgefleet_controller.studies import repository, service
from edgefleet_controller.studies.long_poll import wait_for_study
from edgefleet_controller.studies.schemas import (
    StudyCreate,
    StudyEvents,
    StudyEventView,
    StudySummary,
    StudyView,
    Trials,
)

router = APIRouter(prefix="/v1", tags=["studies"])
After = Annotated[int, Query(ge=0, lt=2**63, description="only entries above this number")]
AfterTrial = Annotated[int, Query(ge=-1, lt=2**31, description="only trials above this number")]
Limit = Annotated[int, Query(ge=1, le=1000, description="entries at most")]


@router.post("/studies", status_code=status.HTTP_202_ACCEPTED)
def create_study(
    body: StudyCreate, session: WriteSession, response: Response, idempotency_key: IdempotencyKey = None
) -> StudyView:
    """Search for recipes under constraints by measuring on the boards; each trial is a job."""
    submission = service.submit(session, body, idempotency_key)
    response.headers["Location"] = f"/v1/studies/{submission.study.id}"
    response.headers["Retry-After"] = "1"
    if submission.is_replay:
        response.headers["Idempotency-Replayed"] = "true"
    return submission.study


@router.get("/studies")
def list_studies(page: PageQuery, session: ReadSession) -> Page[StudySummary]:
    """Studies, newest first."""
    return service.page_of_summaries(session, page)


@router.get("/studies/{study_id}")
async def show_study(study_id: str, services: ServicesOf, wait: Wait = 0, since: Since = None) -> StudyView:
    """One study; with `wait` the answer is held until there is news."""
    return await wait_for_study(services, study_id, wait, since)


@router.get("/studies/{study_id}/trials")
def list_trials(study_id: str, session: ReadSession, after: AfterTrial = -1, limit: Limit = 200) -> Trials:
    """Trials of a study in their order, with what was measured and why some failed."""
    study = service.find(session, study_id)
    rows = repository.trials_after(session, study_id, after, limit)
    more = rows[-1].number if len(rows) == limit else None
    return Trials(items=service.trial_views(study, rows), next_after=more)


@router.get("/studies/{study_id}/report")
def show_study_report(study_id: str, session: ReadSession) -> dict[str, Any]:
    """What the study found: front, recommendation and deployment check of each kind of board; `partial` until it completed."""
    return service.report(session, service.find(session, study_id))


@router.get("/studies/{study_id}/events")
def list_study_events(study_id: str, session: ReadSession, after: After = 0, limit: Limit = 200) -> StudyEvents:
    """What happened in a study, oldest first."""
    service.find(session, study_id)
    rows = repository.events_after(session, study_id, after, limit)
    more = rows[-1].id if len(rows) == limit else None
    return StudyEvents(items=[StudyEventView.model_validate(row) for row in rows], next_after=more)


@router.post("/studies/{study_id}/cancel", status_code=status.HTTP_202_ACCEPTED)
def cancel_study(study_id: str, session: WriteSession) -> StudyView:
    """End a study: its open jobs are cancelled; what was measured, and the front of it, stays."""
    return service.view(session, service.cancel(session, study_id))
