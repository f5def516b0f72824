"""Jobs: the list, and one job with what came out of it."""

from fastapi import APIRouter, Request, Response

from edgefleet_controller.jobs import repository as jobs
from edgefleet_controller.jobs import service as job_service
from edgefleet_controller.jobs.repository import ENDED
from edgefleet_controller.pagination import PageQuery
from edgefleet_controller.services import ReadSession
from edgefleet_controller.web.job_page import job_page
from edgefleet_controller.web.rendering import render

router = APIRouter(include_in_schema=False, default_response_class=Response)
N_EVENTS = 1000


@router.get("/jobs")
def list_jobs(request: Request, page: PageQuery, session: ReadSession) -> Response:
    """Jobs, newest first."""
    rows, cursor = jobs.page_of_jobs(session, page)
    return render(request, "jobs.html", jobs=rows, next_cursor=cursor)


@router.get("/jobs/{job_id}")
def show_job(request: Request, job_id: str, session: ReadSession) -> Response:
    """One job: table, front and log."""
    job = job_service.find(session, job_id)
    events = jobs.events_after(session, job_id, 0, N_EVENTS)
    found = job_page(session, job_id)
    return render(request, "job.html", job=job, is_ended=job.state in ENDED, events=events, page=found)
