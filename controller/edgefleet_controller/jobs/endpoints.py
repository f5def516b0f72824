"""``/v1/jobs``."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response, status

from edgefleet_controller.jobs import repository, service
from edgefleet_controller.jobs.long_poll import wait_for_job
from edgefleet_controller.jobs.remeasuring import REMEASURE, remeasure
from edgefleet_controller.jobs.schemas import (
    JobCreate,
    JobEvents,
    JobEventView,
    JobSummary,
    JobView,
    RemeasureCreate,
)
from edgefleet_controller.pagination import Page, PageQuery
from edgefleet_controller.services import ReadSession, ServicesOf, WriteSession

router = APIRouter(prefix="/v1", tags=["jobs"])
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1, max_length=255, description="makes a repetition of this request answer without doing it again"
    ),
]
Wait = Annotated[
    float, Query(ge=0, le=50, description="hold the answer for up to this many seconds until there is news")
]
Since = Annotated[int | None, Query(ge=0, description="news is a version above this; without it, only the job's end")]


@router.post("/jobs", status_code=status.HTTP_202_ACCEPTED)
def create_job(
    body: JobCreate, session: WriteSession, response: Response, idempotency_key: IdempotencyKey = None
) -> JobView:
    """Submit a compress-and-profile job: every recipe, for every target, on every device."""
    submission = service.submit(session, body, idempotency_key)
    response.headers["Location"] = f"/v1/jobs/{submission.job.id}"
    response.headers["Retry-After"] = "1"
    if submission.is_replay:
        response.headers["Idempotency-Replayed"] = "true"
    return submission.job


@router.get("/jobs")
def list_jobs(page: PageQuery, session: ReadSession) -> Page[JobSummary]:
    """Jobs without their variants, newest first."""
    rows, cursor = repository.page_of_jobs(session, page)
    return Page[JobSummary](items=[JobSummary.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/jobs/{job_id}")
async def show_job(job_id: str, services: ServicesOf, wait: Wait = 0, since: Since = None) -> JobView:
    """One job with its variants; with `wait` the answer is held until there is news."""
    return await wait_for_job(services, job_id, wait, since)


@router.get("/jobs/{job_id}/events")
def list_events(
    job_id: str,
    session: ReadSession,
    after: Annotated[int, Query(ge=0, lt=2**63, description="only entries above this number")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="entries at most")] = 200,
) -> JobEvents:
    """What happened in a job, oldest first."""
    service.find(session, job_id)
    rows = repository.events_after(session, job_id, after, limit)
    more = rows[-1].id if len(rows) == limit else None
    return JobEvents(items=[JobEventView.model_validate(row) for row in rows], next_after=more)


@router.post("/jobs/{job_id}/remeasure", status_code=status.HTTP_202_ACCEPTED)
def remeasure_job(
    job_id: str,
    body: RemeasureCreate,
    session: WriteSession,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> JobView:
    """Measure a job's artifacts once more, in a new job that compresses and compiles nothing."""
    submission = service.submit_once(
        session, f"{REMEASURE} {job_id}", idempotency_key, body, lambda: remeasure(session, job_id, body)
    )
    response.headers["Location"] = f"/v1/jobs/{submission.job.id}"
    if submission.is_replay:
        response.headers["Idempotency-Replayed"] = "true"
    return submission.job


@router.post("/jobs/{job_id}/cancel", status_code=status.HTTP_202_ACCEPTED)
def cancel_job(job_id: str, session: WriteSession) -> JobView:
    """End a job: its steps are stopped, its queued runs dropped, its running ones asked to stop."""
    return service.view(session, service.request_cancel(session, job_id))
